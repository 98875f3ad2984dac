package main

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Event is one line of the log; what the fields mean stands in ../../../storm/events.py.
type Event struct {
	At         int64           `json:"at"`
	Began      int64           `json:"began,omitempty"`
	Event      string          `json:"event"`
	Member     string          `json:"member,omitempty"`
	Generation int32           `json:"generation"`
	Partitions []int32         `json:"partitions,omitempty"`
	Offsets    map[int32]int64 `json:"offsets,omitempty"`
	Ends       map[int32]int64 `json:"ends,omitempty"`
	Owners     []Owner         `json:"owners,omitempty"`
	Detail     string          `json:"detail,omitempty"`
}

// Owner is a member of the group as the broker describes it.
type Owner struct {
	Member     string  `json:"member"`
	Partitions []int32 `json:"partitions"`
}

// Events writes events to standard output, a line of JSON each, from any goroutine.
type Events struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func newEvents() *Events {
	return &Events{out: bufio.NewWriter(os.Stdout)}
}

// write stamps and writes one event. It is flushed at once, as its reader follows live.
func (e *Events) write(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Stamped under the lock, so that the lines stand in the order of their times.
	event.At = monotonic()
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	e.out.Write(append(line, '\n'))
	e.out.Flush()
}

// monotonic is CLOCK_MONOTONIC in nanoseconds: the one clock that Go, Java's nanoTime and Python's
// time.monotonic_ns share on one machine. (Go's own time.Now does not show its reading.)
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}
