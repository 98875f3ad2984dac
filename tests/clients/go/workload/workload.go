// Package workload is the one workload that every Kafka client of tests/clients does, as its Go
// programs share it; ../python/workload.py describes it.
package workload

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	Partitions = 4
	Records    = 1000
	// Half is where the first member of a group stops, or a little after.
	Half     = 500
	Deadline = 60 * time.Second

	keys = 50
)

// HeaderName is the one header of each record; its value is the record's number.
const HeaderName = "number"

var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func Key(number int) string { return fmt.Sprintf("key-%02d", number%keys) }

// Value is long and repetitive enough that each codec makes it smaller.
func Value(codec string, number int) string {
	return fmt.Sprintf("%s record %04d ", codec, number) + strings.Repeat("all work and no play ", 5)
}

// Round is what one group read of one topic, in the order in which it came.
type Round struct {
	Codec          string
	numbers        []int
	partitionOfKey map[string]int32
}

func NewRound(codec string) *Round {
	return &Round{Codec: codec, partitionOfKey: map[string]int32{}}
}

// Count says how many records came so far.
func (r *Round) Count() int { return len(r.numbers) }

// Take checks one record as the client handed it over.
func (r *Round) Take(partition int32, key, value, header string) error {
	words := strings.SplitN(value, " ", 4)
	if len(words) < 4 {
		return fmt.Errorf("%s: not a value of this test: %q", r.Codec, value)
	}
	number, err := strconv.Atoi(words[2])
	if err != nil {
		return fmt.Errorf("%s: not a value of this test: %q", r.Codec, value)
	}
	if key != Key(number) || value != Value(r.Codec, number) || header != strconv.Itoa(number) {
		return fmt.Errorf("%s: record %d came as key %q, value %q, header %q", r.Codec, number, key, value, header)
	}
	if before, ok := r.partitionOfKey[key]; ok && before != partition {
		return fmt.Errorf("%s: key %q lies in two partitions", r.Codec, key)
	}
	r.partitionOfKey[key] = partition
	r.numbers = append(r.numbers, number)
	return nil
}

// Check says whether every record came once, in order per key, with a share for both members.
func (r *Round) Check(firstHalfCount int) error {
	if firstHalfCount < Half || firstHalfCount >= Records {
		return fmt.Errorf("%s: the first member read %d records, so nothing was left", r.Codec, firstHalfCount)
	}
	times := make([]int, Records)
	lastOfKey := map[int]int{}
	for _, number := range r.numbers {
		times[number]++
		if last, ok := lastOfKey[number%keys]; ok && last > number {
			return fmt.Errorf("%s: record %d came after %d", r.Codec, number, last)
		}
		lastOfKey[number%keys] = number
	}
	for number, count := range times {
		if count != 1 {
			return fmt.Errorf("%s: record %d came %d times; %d records in all, %d by the first member",
				r.Codec, number, count, len(r.numbers), firstHalfCount)
		}
	}
	return nil
}

type result struct {
	Client  string   `json:"client"`
	Version string   `json:"version"`
	OK      bool     `json:"ok"`
	Error   string   `json:"error,omitempty"`
	Checks  []string `json:"checks"`
	Seconds float64  `json:"seconds"`
}

// Report prints the one line of result and ends the program.
func Report(client, version string, checks []string, started time.Time, err error) {
	r := result{Client: client, Version: version, OK: err == nil, Checks: slices.Concat([]string{}, checks)}
	r.Seconds = float64(time.Since(started).Milliseconds()) / 1000
	if err != nil {
		r.Error = err.Error()
		fmt.Fprintf(os.Stderr, "%s: %s\n", client, err)
	}
	line, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
	if !r.OK {
		os.Exit(1)
	}
	os.Exit(0)
}

// Main does the round of each codec with one client and reports.
func Main(client, version string, round func(bootstrap, topic, codec string) error) {
	bootstrap := flag.String("bootstrap", "", "HOST:PORT of the broker")
	prefix := flag.String("topic-prefix", "", "how this run's topics begin")
	flag.Parse()
	started := time.Now()
	var checks []string
	for _, codec := range Codecs {
		if err := round(*bootstrap, *prefix+"-"+codec, codec); err != nil {
			Report(client, version, checks, started, err)
		}
		checks = append(checks, codec)
	}
	Report(client, version, checks, started, nil)
}
