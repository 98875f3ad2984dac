// Idle group members in one process, each with a client of its own, for
// ../../../members/members.py: each of the groups shares out one topic that nobody writes to. It
// says "ready" on standard output when all members of all groups own a partition, and ends with its
// standard input.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	var (
		bootstrap = flag.String("bootstrap", "", "address of the broker")
		groups    = flag.Int("groups", 20, "how many")
		members   = flag.Int("members", 100, "of each group")
		fetchWait = flag.Duration("fetch-wait", 5*time.Second, "the longest wait of a fetch")
	)
	flag.Parse()
	if err := run(*bootstrap, *groups, *members, *fetchWait); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func run(bootstrap string, groups, members int, fetchWait time.Duration) error {
	topic := fmt.Sprintf("idle-%d", time.Now().UnixNano())
	if err := createTopic(bootstrap, topic, members); err != nil {
		return err
	}
	owners := newOwners(groups * members)
	for group := range groups {
		for range members {
			_, err := kgo.NewClient(
				kgo.SeedBrokers(bootstrap),
				kgo.ConsumerGroup(fmt.Sprintf("%s-%d", topic, group)),
				kgo.ConsumeTopics(topic),
				kgo.HeartbeatInterval(3*time.Second),
				kgo.FetchMaxWait(fetchWait),
				kgo.OnPartitionsAssigned(owners.callback(1)),
				kgo.OnPartitionsRevoked(owners.callback(-1)),
				kgo.OnPartitionsLost(owners.callback(-1)),
			)
			if err != nil {
				return err
			}
		}
	}
	<-owners.complete
	return nil
}

func createTopic(bootstrap, topic string, partitions int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(context.Background(), int32(partitions), -1, nil, topic)
	return err
}

// Owners counts the members that own a partition.
type Owners struct {
	wanted   int
	complete chan struct{} // closed when all do, for the first time

	mu    sync.Mutex
	owned map[*kgo.Client]int
	count int
	once  sync.Once
}

func newOwners(wanted int) *Owners {
	return &Owners{wanted: wanted, complete: make(chan struct{}), owned: make(map[*kgo.Client]int)}
}

func (o *Owners) callback(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
	return func(_ context.Context, client *kgo.Client, topics map[string][]int32) {
		o.mu.Lock()
		defer o.mu.Unlock()
		before := o.owned[client]
		after := before
		for _, partitions := range topics {
			after += sign * len(partitions)
		}
		o.owned[client] = after
		switch {
		case before == 0 && after > 0:
			o.count++
		case before > 0 && after == 0:
			o.count--
		}
		if o.count == o.wanted {
			o.once.Do(func() { close(o.complete) })
		}
	}
}
