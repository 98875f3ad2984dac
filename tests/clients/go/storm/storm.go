package main

import (
	"context"
	"math/rand"
	"time"
)

const (
	// What is between two things that happen: bursts with calm between them, so that generations
	// of all ages are hit, and some become stable.
	burstPauseMax = 300 * time.Millisecond
	calmPauseMax  = 4 * time.Second
	// Longer than a session at most, so that the paused find themselves thrown out or not.
	heldMax = 10 * time.Second
)

// Storm moves the members, in gusts. In a rough one some die or pause, so that generations end by
// timeouts; in the others they only come and go, and many generations pass. Only what happens and
// when comes from the seed; what the group makes of it depends on the machine too.
type Storm struct {
	setup   Setup
	events  *Events
	random  *rand.Rand
	isRough bool
	members []*Member // nil: not in the group
	lives   []int
	resumes []time.Time // of the paused
}

func newStorm(setup Setup, events *Events) *Storm {
	return &Storm{
		setup:   setup,
		events:  events,
		random:  rand.New(rand.NewSource(setup.seed)),
		isRough: true,
		members: make([]*Member, setup.members),
		lives:   make([]int, setup.members),
		resumes: make([]time.Time, setup.members),
	}
}

// begin lets everyone join.
func (s *Storm) begin() error {
	for number := range s.members {
		if err := s.join(number); err != nil {
			return err
		}
	}
	return nil
}

// run moves them until the context ends, and leaves everyone awake.
func (s *Storm) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.act(s.random.Intn(len(s.members))); err != nil {
			return err
		}
		pause := time.Duration(s.random.Int63n(int64(burstPauseMax)))
		if s.random.Intn(8) == 0 {
			pause = time.Duration(s.random.Int63n(int64(calmPauseMax)))
			s.isRough = s.random.Intn(3) == 0
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		s.resumeThose(func(at time.Time) bool { return time.Now().After(at) })
	}
	s.resumeThose(func(time.Time) bool { return true })
	return nil
}

func (s *Storm) act(number int) error {
	member := s.members[number]
	if member == nil {
		return s.join(number)
	}
	if member.held {
		return nil
	}
	switch chance := s.random.Intn(10); {
	case chance < 3:
		s.members[number] = nil
		go member.leave()
	case chance == 3 && s.isRough:
		s.members[number] = nil
		go member.die()
	case chance == 4 && s.isRough:
		s.resumes[number] = time.Now().Add(time.Duration(s.random.Int63n(int64(heldMax))))
		member.pause()
	}
	return nil
}

func (s *Storm) join(number int) error {
	s.lives[number]++
	member, err := startMember(s.setup, number, s.lives[number], s.events)
	s.members[number] = member
	return err
}

func (s *Storm) resumeThose(due func(time.Time) bool) {
	for number, member := range s.members {
		if member != nil && member.held && due(s.resumes[number]) {
			member.resume()
		}
	}
}
