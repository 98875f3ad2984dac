// The franz-go part of the rebalance storm (../../../storm/storm.py): members of one group that
// join, leave, pause and die at random, and a witness that writes records and asks the broker what
// it has. Each thing that happens is a line of JSON on standard output.
//
// All members join at once. Then come, on standard input, "storm"; "quiet", which ends the storm: the
// paused go on, no more joins or leaves, no more records; "conclude", to say how things stand; and
// "stop".
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"time"
)

// Setup is what the command line says.
type Setup struct {
	bootstrap  string
	topic      string
	partitions int
	group      string
	mode       string
	members    int
	seed       int64
}

func main() {
	var setup Setup
	flag.StringVar(&setup.bootstrap, "bootstrap", "", "address of the broker")
	flag.StringVar(&setup.topic, "topic", "", "made here")
	flag.IntVar(&setup.partitions, "partitions", 200, "of the topic")
	flag.StringVar(&setup.group, "group", "", "of all members")
	flag.StringVar(&setup.mode, "mode", "", "eager, cooperative or consumer")
	flag.IntVar(&setup.members, "members", 50, "most at a time")
	flag.Int64Var(&setup.seed, "seed", 0, "of what the members do, and when")
	flag.Parse()
	if err := run(setup); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(setup Setup) error {
	events := newEvents()
	witness, err := newWitness(setup, events)
	if err != nil {
		return err
	}
	ctx := context.Background()
	partitions := int32(setup.partitions)
	if _, err := witness.admin.CreateTopic(ctx, partitions, -1, nil, setup.topic); err != nil {
		return err
	}
	events.write(Event{Event: "ready"})

	storming, calm := context.WithCancel(ctx)
	defer calm()
	observing, blind := context.WithCancel(ctx)
	defer blind()
	storm := newStorm(setup, events)
	if err := storm.begin(); err != nil {
		return err
	}
	over := make(chan error, 1)
	produced := make(chan struct{})
	go func() {
		witness.produce(storming, rand.New(rand.NewSource(setup.seed)))
		close(produced)
	}()
	go witness.observe(observing)

	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		switch commands.Text() {
		case "storm":
			go func() { over <- storm.run(storming) }()
		case "quiet":
			calm()
			if err := <-over; err != nil {
				return err
			}
			<-produced
			events.write(Event{Event: "quiet"})
		case "conclude":
			asking, done := context.WithTimeout(ctx, 20*time.Second)
			witness.conclude(asking)
			done()
		case "stop":
			return nil
		}
	}
	return commands.Err()
}
