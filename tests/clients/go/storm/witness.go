package main

import (
	"context"
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	producePause = 50 * time.Millisecond
	// Records in each round of the producer: 400 a second.
	produceCount = 20
	observePause = 300 * time.Millisecond
)

// Witness stands outside the group: it writes the records and asks the broker what it has.
type Witness struct {
	setup  Setup
	events *Events
	client *kgo.Client
	admin  *kadm.Client
}

func newWitness(setup Setup, events *Events) (*Witness, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(setup.bootstrap),
		kgo.ClientID("witness"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	if err != nil {
		return nil, err
	}
	return &Witness{setup: setup, events: events, client: client, admin: kadm.NewClient(client)}, nil
}

// produce writes a few records again and again until the context ends, and returns when all of
// them are answered.
func (w *Witness) produce(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		for range produceCount {
			record := &kgo.Record{
				Topic:     w.setup.topic,
				Partition: int32(random.Intn(w.setup.partitions)),
				Value:     []byte("a drop in the storm"),
			}
			w.client.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
				if err != nil {
					w.events.write(Event{Event: "failed", Detail: "produce: " + err.Error()})
				}
			})
		}
		select {
		case <-ctx.Done():
		case <-time.After(producePause):
		}
	}
	if err := w.client.Flush(context.Background()); err != nil {
		w.events.write(Event{Event: "failed", Detail: "flush: " + err.Error()})
	}
}

// observe asks again and again for the group's committed offsets, until the context ends.
func (w *Witness) observe(ctx context.Context) {
	for ctx.Err() == nil {
		w.observeOnce(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(observePause):
		}
	}
}

func (w *Witness) observeOnce(ctx context.Context) {
	began := monotonic()
	answer, err := w.admin.FetchOffsets(ctx, w.setup.group)
	if err != nil {
		return // A broker that is down is asked again.
	}
	offsets := make(map[int32]int64)
	answer.Each(func(offset kadm.OffsetResponse) {
		if offset.Err == nil && offset.At >= 0 {
			offsets[offset.Partition] = offset.At
		}
	})
	w.events.write(Event{Event: "observed", Began: began, Offsets: offsets})
}

// conclude says where each partition ends, and whom the broker takes for its owners.
func (w *Witness) conclude(ctx context.Context) {
	ends, err := w.admin.ListEndOffsets(ctx, w.setup.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		w.events.write(Event{Event: "failed", Detail: "list offsets: " + err.Error()})
		return
	}
	event := Event{Event: "ended", Ends: make(map[int32]int64)}
	ends.Each(func(end kadm.ListedOffset) { event.Ends[end.Partition] = end.Offset })
	w.events.write(event)
	owners, detail, err := w.describe(ctx)
	if err != nil {
		w.events.write(Event{Event: "failed", Detail: "describe: " + err.Error()})
		return
	}
	w.events.write(Event{Event: "described", Owners: owners, Detail: detail})
}

// describe asks the broker for the group's state, and for its members with their partitions.
func (w *Witness) describe(ctx context.Context) ([]Owner, string, error) {
	if w.setup.mode == "consumer" {
		return w.describeConsumer(ctx)
	}
	described, err := w.admin.DescribeGroups(ctx, w.setup.group)
	if err != nil {
		return nil, "", err
	}
	group := described[w.setup.group]
	var owners []Owner
	for _, member := range group.Members {
		owner := Owner{Member: member.ClientID}
		if assignment, ok := member.Assigned.AsConsumer(); ok {
			for _, topic := range assignment.Topics {
				owner.Partitions = append(owner.Partitions, topic.Partitions...)
			}
		}
		owners = append(owners, owner)
	}
	return owners, group.State, group.Err
}

func (w *Witness) describeConsumer(ctx context.Context) ([]Owner, string, error) {
	described, err := w.admin.DescribeConsumerGroups(ctx, w.setup.group)
	if err != nil {
		return nil, "", err
	}
	group := described[w.setup.group]
	var owners []Owner
	for _, member := range group.Members {
		owner := Owner{Member: member.ClientID}
		for partition := range member.Assignment[w.setup.topic] {
			owner.Partitions = append(owner.Partitions, partition)
		}
		owners = append(owners, owner)
	}
	return owners, group.State, group.Err
}
