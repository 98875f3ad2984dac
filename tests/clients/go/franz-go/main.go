// franz-go with its defaults: see the package workload.
package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"weir.invalid/clients/workload"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func main() {
	workload.Main("franz-go", workload.ModuleVersion("github.com/twmb/franz-go"), round)
}

func round(bootstrap, topic, codec string) error {
	ctx, cancel := context.WithTimeout(context.Background(), workload.Deadline)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(codecs[codec]))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, workload.Partitions, -1, nil, topic); err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	if err := write(ctx, client, topic, codec); err != nil {
		return err
	}
	seen := workload.NewRound(codec)
	if err := read(ctx, bootstrap, topic, seen, workload.Half); err != nil {
		return err
	}
	firstHalfCount := seen.Count()
	if err := read(ctx, bootstrap, topic, seen, workload.Records); err != nil {
		return err
	}
	if err := seen.Check(firstHalfCount); err != nil {
		return err
	}
	return checkCommits(ctx, admin, topic)
}

func write(ctx context.Context, client *kgo.Client, topic, codec string) error {
	records := make([]*kgo.Record, workload.Records)
	for number := range records {
		records[number] = &kgo.Record{
			Topic:   topic,
			Key:     []byte(workload.Key(number)),
			Value:   []byte(workload.Value(codec, number)),
			Headers: []kgo.RecordHeader{{Key: workload.HeaderName, Value: []byte(strconv.Itoa(number))}},
		}
	}
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("%s: write: %w", codec, err)
	}
	return nil
}

// read is one group member: it reads until the group has `until` records, commits and leaves.
func read(ctx context.Context, bootstrap, topic string, seen *workload.Round, until int) error {
	member, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(topic+"-group"),
		kgo.ConsumeTopics(topic),
	)
	if err != nil {
		return err
	}
	defer member.Close()
	for seen.Count() < until {
		// Whatever a poll hands over counts as read, so that the commit stands right behind it.
		fetches := member.PollRecords(ctx, 100)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%s: %d of %d records came: %w", seen.Codec, seen.Count(), until, err)
		}
		for _, record := range fetches.Records() {
			header := ""
			if len(record.Headers) == 1 && record.Headers[0].Key == workload.HeaderName {
				header = string(record.Headers[0].Value)
			}
			if err := seen.Take(record.Partition, string(record.Key), string(record.Value), header); err != nil {
				return err
			}
		}
	}
	return member.CommitUncommittedOffsets(ctx)
}

func checkCommits(ctx context.Context, admin *kadm.Client, topic string) error {
	offsets, err := admin.FetchOffsets(ctx, topic+"-group")
	if err != nil {
		return err
	}
	total := int64(0)
	offsets.Each(func(offset kadm.OffsetResponse) { total += offset.At })
	if total != workload.Records {
		return fmt.Errorf("the commits of %s add up to %d", topic, total)
	}
	return nil
}
