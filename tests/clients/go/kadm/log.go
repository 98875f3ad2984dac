package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const records = 12

// firstMs is the time of the first record of each partition; the others follow a second apart.
var firstMs = time.Now().Add(-time.Hour).Truncate(time.Hour).UnixMilli()

func produce(ctx context.Context, b *broker) (any, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.address), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for number := range int64(records) {
		for partition := range int32(3) {
			record := &kgo.Record{
				Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "record %d", number),
				Timestamp: time.UnixMilli(firstMs + 1000*number),
			}
			if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
				return nil, err
			}
		}
	}
	return "produced", nil
}

var logSteps = []step{
	{"records for what follows", produce},
	{"ListStartOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.ListStartOffsets(ctx, topic, nowhere)
	}},
	{"ListEndOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.ListEndOffsets(ctx, topic, other)
	}},
	{"ListCommittedOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.ListCommittedOffsets(ctx, topic)
	}},
	{"ListMaxTimestampOffsets", func(ctx context.Context, b *broker) (any, error) {
		listed, err := b.ListMaxTimestampOffsets(ctx, topic, other)
		return relative(listed), err
	}},
	{"ListLocalLogStartOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.ListLocalLogStartOffsets(ctx, topic)
	}},
	{"ListLatestRemoteOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.ListLatestRemoteOffsets(ctx, topic)
	}},
	{"ListOffsetsAfterMilli", func(ctx context.Context, b *broker) (any, error) {
		listed, err := b.ListOffsetsAfterMilli(ctx, firstMs+4500, topic, other)
		return relative(listed), err
	}},
	{"ListOffsetsAfterMilli beyond the end", func(ctx context.Context, b *broker) (any, error) {
		return b.ListOffsetsAfterMilli(ctx, firstMs+1_000_000, topic)
	}},
	{"OffsetForLeaderEpoch", func(ctx context.Context, b *broker) (any, error) {
		var request kadm.OffsetForLeaderEpochRequest
		request.Add(topic, 0, 0)
		request.Add(topic, 1, 5)
		request.Add(nowhere, 0, 0)
		return b.OffsetForLeaderEpoch(ctx, request)
	}},
	{"DeleteRecords", func(ctx context.Context, b *broker) (any, error) {
		var offsets kadm.Offsets
		offsets.AddOffset(topic, 0, 5, -1)
		offsets.AddOffset(topic, 1, -1, -1)
		offsets.AddOffset(topic, 2, 1000, -1)
		offsets.AddOffset(nowhere, 0, 1, -1)
		return b.DeleteRecords(ctx, offsets)
	}},
	{"DeleteRecords that are gone", func(ctx context.Context, b *broker) (any, error) {
		var offsets kadm.Offsets
		offsets.AddOffset(topic, 0, 2, -1)
		return b.DeleteRecords(ctx, offsets)
	}},
	{"ListStartOffsets when records were deleted", func(ctx context.Context, b *broker) (any, error) {
		return b.ListStartOffsets(ctx, topic)
	}},
	{"DescribeProducers", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeProducers(ctx, kadm.TopicsSet{topic: {0: {}, 77: {}}, nowhere: {0: {}}})
	}},
	{"DescribeAllLogDirs", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeAllLogDirs(ctx, kadm.TopicsSet{topic: {0: {}, 1: {}, 2: {}}})
	}},
	{"DescribeBrokerLogDirs", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeBrokerLogDirs(ctx, 1, kadm.TopicsSet{nowhere: {0: {}}})
	}},
}

// relative counts the times of records from the first, as they are of this hour.
func relative(listed kadm.ListedOffsets) kadm.ListedOffsets {
	for name, partitions := range listed {
		for index, offset := range partitions {
			if offset.Timestamp > 0 {
				offset.Timestamp -= firstMs
			}
			listed[name][index] = offset
		}
	}
	return listed
}
