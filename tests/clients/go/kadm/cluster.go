package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func clientEntity(name *string) kadm.ClientQuotaEntity {
	return kadm.ClientQuotaEntity{{Type: "client-id", Name: name}}
}

var ofAnyClient = []kadm.DescribeClientQuotaComponent{
	{Type: "client-id", MatchType: kmsg.QuotasMatchTypeAny},
}

// quotasInForce waits until so many clients have quotas: Kafka answers before it is so.
func quotasInForce(ctx context.Context, b *broker, count int) error {
	for ctx.Err() == nil {
		described, err := b.DescribeClientQuotas(ctx, false, ofAnyClient)
		if err != nil || len(described) == count {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

func rate(key string, value float64) []kadm.AlterClientQuotaOp {
	return []kadm.AlterClientQuotaOp{{Key: key, Value: value}}
}

var clusterSteps = []step{
	{"Metadata", func(ctx context.Context, b *broker) (any, error) {
		return b.Metadata(ctx, topic, nowhere)
	}},
	{"BrokerMetadata", func(ctx context.Context, b *broker) (any, error) {
		return b.BrokerMetadata(ctx)
	}},
	{"ListBrokers", func(ctx context.Context, b *broker) (any, error) {
		return b.ListBrokers(ctx)
	}},
	{"ApiVersions", func(ctx context.Context, b *broker) (any, error) {
		versions, err := b.ApiVersions(ctx)
		shown := map[string]string{}
		versions.Each(func(of kadm.BrokerApiVersions) {
			of.EachKeySorted(func(key, first, last int16) {
				shown[kmsg.NameForKey(key)] = fmt.Sprintf("%d to %d", first, last)
			})
		})
		return shown, err
	}},
	{"ElectLeaders", func(ctx context.Context, b *broker) (any, error) {
		return b.ElectLeaders(ctx, kadm.ElectPreferredReplica, kadm.TopicsSet{topic: {0: {}, 77: {}}})
	}},
	{"ListPartitionReassignments", func(ctx context.Context, b *broker) (any, error) {
		return b.ListPartitionReassignments(ctx, kadm.TopicsSet{topic: {0: {}}})
	}},
	{"AlterPartitionAssignments", func(ctx context.Context, b *broker) (any, error) {
		var request kadm.AlterPartitionAssignmentsReq
		request.CancelAssign(topic, 0)
		request.Assign(topic, 1, []int32{1})
		request.Assign(topic, 2, []int32{99})
		request.Assign(nowhere, 0, []int32{1})
		return b.AlterPartitionAssignments(ctx, request)
	}},
	{"AlterClientQuotas", func(ctx context.Context, b *broker) (any, error) {
		altered, err := b.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{
			{Entity: clientEntity(text("one")), Ops: rate("producer_byte_rate", 1048576)},
			{Entity: clientEntity(nil), Ops: rate("consumer_byte_rate", 2097152)},
		})
		if err == nil {
			err = quotasInForce(ctx, b, 2)
		}
		return altered, err
	}},
	{"AlterClientQuotas, an unknown key", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{
			{Entity: clientEntity(text("one")), Ops: rate("no_such_rate", 1)},
		})
	}},
	{"AlterClientQuotas, a negative rate", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{
			{Entity: clientEntity(text("one")), Ops: rate("producer_byte_rate", -1)},
		})
	}},
	{"AlterClientQuotas, an unknown kind of entity", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{
			Entity: kadm.ClientQuotaEntity{{Type: "planet", Name: text("earth")}},
			Ops:    rate("producer_byte_rate", 1),
		}})
	}},
	{"ValidateAlterClientQuotas", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateAlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{
			{Entity: clientEntity(text("two")), Ops: rate("request_percentage", 50)},
		})
	}},
	{"DescribeClientQuotas", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeClientQuotas(ctx, false, ofAnyClient)
	}},
	{"DescribeClientQuotas of one client", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{
			{Type: "client-id", MatchName: text("one"), MatchType: kmsg.QuotasMatchTypeExact},
		})
	}},
	{"DescribeClientQuotas of an unknown kind of entity", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeClientQuotas(ctx, true, []kadm.DescribeClientQuotaComponent{
			{Type: "planet", MatchType: kmsg.QuotasMatchTypeAny},
		})
	}},
	{"AlterClientQuotas, removing", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{
			{Entity: clientEntity(text("one")), Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Remove: true}}},
			{Entity: clientEntity(nil), Ops: []kadm.AlterClientQuotaOp{{Key: "consumer_byte_rate", Remove: true}}},
		})
	}},
}
