package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	classic  = "kadm-classic"
	modern   = "kadm-modern"
	idle     = "kadm-idle"
	noGroup  = "kadm-no-such-group"
	instance = "kadm-instance"
)

func offsets(topic string, at int64) kadm.Offsets {
	var found kadm.Offsets
	for partition := range int32(2) {
		found.Add(kadm.Offset{
			Topic: topic, Partition: partition, At: at, LeaderEpoch: -1, Metadata: "by kadm",
		})
	}
	return found
}

var groupSteps = []step{
	{"a classic member", func(ctx context.Context, b *broker) (any, error) {
		return nil, b.member(ctx,
			kgo.ConsumerGroup(classic), kgo.ConsumeTopics(topic), kgo.InstanceID(instance),
			kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(),
		)
	}},
	{"a member of KIP-848", func(ctx context.Context, b *broker) (any, error) {
		return nil, b.member(ctx,
			kgo.ConsumerGroup(modern), kgo.ConsumeTopics(topic), kgo.ServerSideBalancer(),
			kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit(),
		)
	}},
	{"FindGroupCoordinators", func(ctx context.Context, b *broker) (any, error) {
		return b.FindGroupCoordinators(ctx, classic, noGroup), nil
	}},
	{"CommitOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.CommitOffsets(ctx, idle, offsets(topic, 7))
	}},
	{"CommitOffsets of a topic that is not there", func(ctx context.Context, b *broker) (any, error) {
		return b.CommitOffsets(ctx, idle, offsets(nowhere, 7))
	}},
	{"CommitOffsets of a group with a member", func(ctx context.Context, b *broker) (any, error) {
		return b.CommitOffsets(ctx, classic, offsets(topic, 7))
	}},
	{"CommitOffsets of a group of KIP-848 with a member", func(ctx context.Context, b *broker) (any, error) {
		return b.CommitOffsets(ctx, modern, offsets(topic, 7))
	}},
	{"CommitAllOffsets", func(ctx context.Context, b *broker) (any, error) {
		return nil, b.CommitAllOffsets(ctx, idle, offsets(other, 0))
	}},
	{"CommitOffsetsByID", func(ctx context.Context, b *broker) (any, error) {
		byID := kadm.OffsetsByID{b.topicID: {2: {Topic: topic, Partition: 2, At: 3, LeaderEpoch: -1}}}
		return b.CommitOffsetsByID(ctx, idle, byID)
	}},
	{"CommitAllOffsetsByID of an unknown id", func(ctx context.Context, b *broker) (any, error) {
		byID := kadm.OffsetsByID{{7}: {0: {Partition: 0, At: 3, LeaderEpoch: -1}}}
		return nil, b.CommitAllOffsetsByID(ctx, idle, byID)
	}},
	{"FetchOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.FetchOffsets(ctx, idle)
	}},
	{"FetchOffsets of no group", func(ctx context.Context, b *broker) (any, error) {
		return b.FetchOffsets(ctx, noGroup)
	}},
	{"FetchOffsetsByID", func(ctx context.Context, b *broker) (any, error) {
		return b.FetchOffsetsByID(ctx, idle)
	}},
	{"FetchOffsetsForTopics", func(ctx context.Context, b *broker) (any, error) {
		return b.FetchOffsetsForTopics(ctx, idle, topic, nowhere)
	}},
	{"FetchManyOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.FetchManyOffsets(ctx, idle, classic, noGroup), nil
	}},
	{"ListGroups", func(ctx context.Context, b *broker) (any, error) {
		return b.ListGroups(ctx)
	}},
	{"ListGroups that are empty", func(ctx context.Context, b *broker) (any, error) {
		return b.ListGroups(ctx, "Empty")
	}},
	{"ListGroupsByType", func(ctx context.Context, b *broker) (any, error) {
		return b.ListGroupsByType(ctx, []string{"consumer"})
	}},
	{"DescribeGroups", func(ctx context.Context, b *broker) (any, error) {
		described, err := b.DescribeGroups(ctx, classic, idle, noGroup)
		return withMetadata(described), err
	}},
	{"DescribeGroups of KIP-848", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeGroups(ctx, modern)
	}},
	{"DescribeConsumerGroups", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeConsumerGroups(ctx, modern, noGroup)
	}},
	{"DescribeConsumerGroups of a classic group", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeConsumerGroups(ctx, classic)
	}},
	{"Lag", func(ctx context.Context, b *broker) (any, error) {
		lags, err := b.Lag(ctx, idle)
		return lags, err
	}},
	{"DeleteOffsets", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteOffsets(ctx, idle, kadm.TopicsSet{topic: {0: {}}, nowhere: {0: {}}})
	}},
	{"DeleteOffsets of a topic that a member reads", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteOffsets(ctx, classic, kadm.TopicsSet{topic: {0: {}}, other: {0: {}}})
	}},
	{"DeleteOffsets of no group", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteOffsets(ctx, noGroup, kadm.TopicsSet{topic: {0: {}}})
	}},
	{"DeleteGroups", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteGroups(ctx, classic, modern, noGroup)
	}},
	{"LeaveGroup, one member of two is not there", func(ctx context.Context, b *broker) (any, error) {
		return b.LeaveGroup(ctx, kadm.LeaveGroup(classic).InstanceIDs(instance, "no-such-instance"))
	}},
	{"DeleteGroup", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteGroup(ctx, idle)
	}},
	{"ListGroups when one was deleted", func(ctx context.Context, b *broker) (any, error) {
		return b.ListGroups(ctx, "Empty", "Dead")
	}},
}

// withMetadata shows what members said when they joined, which kadm keeps behind methods.
func withMetadata(described kadm.DescribedGroups) any {
	type member struct {
		Topics   []string
		Assigned any
	}
	members := map[string][]member{}
	for name, group := range described {
		for _, each := range group.Members {
			said := member{}
			if consumer, is := each.Join.AsConsumer(); is {
				said.Topics = consumer.Topics
			}
			if assigned, is := each.Assigned.AsConsumer(); is {
				said.Assigned = assigned.Topics
			}
			members[name] = append(members[name], said)
		}
	}
	return map[string]any{"groups": described, "members": members}
}
