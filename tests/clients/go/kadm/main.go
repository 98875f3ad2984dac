// Command kadm makes every call of franz-go's admin client to the broker at the given address and
// prints what came of each, a JSON object on a line: {"step": …, "lines": […]}.
//
//	kadm HOST:PORT
//
// ../../../admin compares what two brokers answer. The calls about KRaft, replicas, transactions,
// share and Streams groups and security are not made.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const stepTimeout = 30 * time.Second

// step is one call; what it returns is shown.
type step struct {
	name string
	call func(context.Context, *broker) (any, error)
}

// broker is what the steps talk to, and what one step leaves for a later one.
type broker struct {
	*kadm.Client
	address string
	topicID kadm.TopicID
	members []*kgo.Client
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(address string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address))
	if err != nil {
		return err
	}
	defer client.Close()
	on := &broker{Client: kadm.NewClient(client), address: address}
	defer on.closeMembers()
	output := json.NewEncoder(os.Stdout)
	for _, steps := range [][]step{topicSteps, configSteps, logSteps, groupSteps, clusterSteps} {
		for _, step := range steps {
			ctx, cancel := context.WithTimeout(context.Background(), stepTimeout)
			lines := show(step.call(ctx, on))
			cancel()
			if err := output.Encode(map[string]any{"step": step.name, "lines": lines}); err != nil {
				return err
			}
		}
	}
	return nil
}

// member adds a consumer that stays in its group until the end.
func (b *broker) member(ctx context.Context, options ...kgo.Opt) error {
	options = append(options, kgo.SeedBrokers(b.address), kgo.ClientID("member"))
	client, err := kgo.NewClient(options...)
	if err != nil {
		return err
	}
	b.members = append(b.members, client)
	for ctx.Err() == nil {
		// It has its partitions once it has read a record of them.
		if fetches := client.PollFetches(ctx); !fetches.Empty() {
			return fetches.Err0()
		}
	}
	return ctx.Err()
}

func (b *broker) closeMembers() {
	for _, member := range b.members {
		member.Close()
	}
}
