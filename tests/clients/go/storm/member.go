package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// The least that Kafka's group.min.session.timeout.ms allows by default.
	sessionTimeout = 6 * time.Second
	// How long a generation waits for those who do not come back.
	rebalanceTimeout  = 8 * time.Second
	heartbeatInterval = time.Second
	fetchWait         = 500 * time.Millisecond
	// Between two polls of a member: it bounds what the log holds.
	pollPause = 150 * time.Millisecond
	// After this long without records what is uncommitted is tried again.
	pollMax = time.Second
)

// protocols are the three ways to share out partitions, by the name of the mode. Of two members one
// prefers range and one roundrobin, so that the group has to vote.
func protocol(mode string, number int) []kgo.Opt {
	switch mode {
	case "eager":
		if number%2 == 0 {
			return []kgo.Opt{kgo.Balancers(kgo.RangeBalancer(), kgo.RoundRobinBalancer())}
		}
		return []kgo.Opt{kgo.Balancers(kgo.RoundRobinBalancer(), kgo.RangeBalancer())}
	case "cooperative":
		return []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	case "consumer":
		return []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
	}
	panic("no mode " + mode)
}

// Member is one consumer of the group. It polls, takes what comes as processed and commits it; what
// was refused for a rebalance it commits again later, unless the partition is gone by then. No
// callback runs between a poll and the end of the commit, so a commit never covers what its member
// has given up.
type Member struct {
	name    string
	topic   string
	events  *Events
	network *Network
	client  *kgo.Client
	cancel  context.CancelFunc
	done    chan struct{}
	held    bool
	dead    atomic.Bool

	mu          sync.Mutex // held for a whole commit, and by callbacks
	uncommitted map[int32]kgo.EpochOffset
}

func startMember(setup Setup, number, life int, events *Events) (*Member, error) {
	member := &Member{
		name:    fmt.Sprintf("go-%02d-%d", number, life),
		topic:   setup.topic,
		events:  events,
		network: newNetwork(),
		done:    make(chan struct{}),

		uncommitted: make(map[int32]kgo.EpochOffset),
	}
	options := append(protocol(setup.mode, number),
		kgo.SeedBrokers(setup.bootstrap),
		kgo.ClientID(member.name),
		kgo.Dialer(member.network.dial),
		kgo.ConsumerGroup(setup.group),
		kgo.ConsumeTopics(setup.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(sessionTimeout),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.FetchMaxWait(fetchWait),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
		kgo.OnPartitionsAssigned(member.callback("assigned")),
		kgo.OnPartitionsRevoked(member.callback("revoked")),
		kgo.OnPartitionsLost(member.callback("lost")),
	)
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	member.client = client
	ctx, cancel := context.WithCancel(context.Background())
	member.cancel = cancel
	member.say(Event{Event: "joined"})
	go member.consume(ctx)
	return member, nil
}

// say writes an event of this member, unless it is dead: what a dead client's callbacks still do
// while it is being put away is nobody's concern.
func (m *Member) say(event Event) {
	if m.dead.Load() {
		return
	}
	event.Member = m.name
	m.events.write(event)
}

func (m *Member) callback(event string) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, client *kgo.Client, partitions map[string][]int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if event != "assigned" {
			for _, partition := range partitions[m.topic] {
				delete(m.uncommitted, partition)
			}
		}
		_, generation := client.GroupMetadata()
		m.say(Event{Event: event, Generation: generation, Partitions: partitions[m.topic]})
	}
}

func (m *Member) consume(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		polling, polled := context.WithTimeout(ctx, pollMax)
		fetches := m.client.PollRecords(polling, 5000)
		polled()
		m.mu.Lock()
		fetches.EachRecord(func(record *kgo.Record) {
			next := kgo.EpochOffset{Epoch: record.LeaderEpoch, Offset: record.Offset + 1}
			m.uncommitted[record.Partition] = next
		})
		if len(m.uncommitted) > 0 {
			m.commit(ctx)
		}
		m.mu.Unlock()
		m.client.AllowRebalance()
		select {
		case <-ctx.Done():
		case <-time.After(pollPause):
		}
	}
}

// commit sends what is uncommitted and waits for the answer.
func (m *Member) commit(ctx context.Context) {
	_, generation := m.client.GroupMetadata()
	event := Event{Event: "refused", Began: monotonic(), Generation: generation}
	m.client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{m.topic: m.uncommitted},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				event.Detail = err.Error()
				return
			}
			event.Offsets = make(map[int32]int64)
			for _, partition := range answer.Topics[0].Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					event.Detail = err.Error()
					continue
				}
				event.Event = "committed"
				event.Offsets[partition.Partition] = m.uncommitted[partition.Partition].Offset
			}
		})
	for partition := range event.Offsets {
		delete(m.uncommitted, partition)
	}
	if _, now := m.client.GroupMetadata(); now != generation {
		event.Generation = 0 // Which of the two the broker was told is not known.
	}
	m.say(event)
}

// leave gives the partitions back and says goodbye.
func (m *Member) leave() {
	m.cancel()
	<-m.done
	m.client.CloseAllowingRebalance()
	m.say(Event{Event: "left"})
}

// die ends the member without a word to the broker.
func (m *Member) die() {
	m.say(Event{Event: "died"})
	m.dead.Store(true)
	m.network.unplug()
	m.cancel()
	<-m.done
	m.client.CloseAllowingRebalance()
}

func (m *Member) pause() {
	m.held = true
	m.say(Event{Event: "paused"})
	m.network.hold()
}

func (m *Member) resume() {
	m.held = false
	m.network.release()
	m.say(Event{Event: "resumed"})
}
