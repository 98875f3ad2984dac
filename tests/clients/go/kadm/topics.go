package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

const (
	topic   = "kadm"
	other   = "kadm-other"
	nowhere = "no-such-topic"
)

func text(value string) *string { return &value }

func configured(value string) map[string]*string {
	return map[string]*string{"retention.ms": text(value)}
}

// settled waits until a topic has its partitions: Kafka makes them after it has answered.
func settled(ctx context.Context, b *broker, name string, count int) error {
	for ctx.Err() == nil {
		listed, err := b.ListTopics(ctx, name)
		if err != nil || len(listed[name].Partitions) == count {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

// inForce waits until a broker says that a setting has a value: Kafka answers before it is so.
func inForce(ctx context.Context, b *broker, name, value string) error {
	for ctx.Err() == nil {
		described, err := b.DescribeBrokerConfigs(ctx, 1)
		if err != nil {
			return err
		}
		for _, broker := range described {
			for _, config := range broker.Configs {
				if config.Key == name && config.MaybeValue() == value {
					return nil
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

var topicSteps = []step{
	{"CreateTopic", func(ctx context.Context, b *broker) (any, error) {
		made, err := b.CreateTopic(ctx, 3, 1, configured("86400000"), topic)
		b.topicID = made.ID
		return made, err
	}},
	{"CreateTopics", func(ctx context.Context, b *broker) (any, error) {
		return b.CreateTopics(ctx, -1, -1, nil, other, "kadm-third")
	}},
	{"CreateTopics, one is there", func(ctx context.Context, b *broker) (any, error) {
		return b.CreateTopics(ctx, 1, 1, nil, topic, "kadm-fourth")
	}},
	{"CreateTopics with bad names", func(ctx context.Context, b *broker) (any, error) {
		return b.CreateTopics(ctx, 1, 1, nil, "bad/name", "..", "", "kadm.fourth_")
	}},
	{"CreateTopic, no partitions", func(ctx context.Context, b *broker) (any, error) {
		return b.CreateTopic(ctx, 0, 1, nil, "kadm-none")
	}},
	{"CreateTopic, three replicas", func(ctx context.Context, b *broker) (any, error) {
		return b.CreateTopic(ctx, 1, 3, nil, "kadm-none")
	}},
	{"CreateTopic, a config value of no number", func(ctx context.Context, b *broker) (any, error) {
		return b.CreateTopic(ctx, 1, 1, configured("soon"), "kadm-none")
	}},
	{"CreateTopic, an unknown config", func(ctx context.Context, b *broker) (any, error) {
		unknown := map[string]*string{"no.such.config": text("1")}
		return b.CreateTopic(ctx, 1, 1, unknown, "kadm-none")
	}},
	{"ValidateCreateTopics", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateCreateTopics(ctx, 2, 1, configured("1000"), "kadm-none", topic)
	}},
	{"ListTopics", func(ctx context.Context, b *broker) (any, error) {
		for _, name := range []string{other, "kadm-third", "kadm-fourth", "kadm.fourth_"} {
			if err := settled(ctx, b, name, 1); err != nil {
				return nil, err
			}
		}
		return b.ListTopics(ctx)
	}},
	{"ListTopics of one that is not there", func(ctx context.Context, b *broker) (any, error) {
		return b.ListTopics(ctx, topic, nowhere)
	}},
	{"CreatePartitions", func(ctx context.Context, b *broker) (any, error) {
		if err := settled(ctx, b, other, 1); err != nil {
			return nil, err
		}
		return b.CreatePartitions(ctx, 1, other, nowhere)
	}},
	{"UpdatePartitions", func(ctx context.Context, b *broker) (any, error) {
		return b.UpdatePartitions(ctx, 4, other)
	}},
	{"UpdatePartitions to fewer", func(ctx context.Context, b *broker) (any, error) {
		return b.UpdatePartitions(ctx, 1, other)
	}},
	{"UpdatePartitions to as many", func(ctx context.Context, b *broker) (any, error) {
		return b.UpdatePartitions(ctx, 4, other)
	}},
	{"ValidateCreatePartitions", func(ctx context.Context, b *broker) (any, error) {
		if err := settled(ctx, b, other, 4); err != nil {
			return nil, err
		}
		return b.ValidateCreatePartitions(ctx, 3, other, nowhere)
	}},
	{"ValidateUpdatePartitions", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateUpdatePartitions(ctx, 9, other)
	}},
	{"ListTopicsWithInternal", func(ctx context.Context, b *broker) (any, error) {
		return b.ListTopicsWithInternal(ctx, other)
	}},
	{"DeleteTopic", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteTopic(ctx, "kadm-third")
	}},
	{"DeleteTopics, one is not there", func(ctx context.Context, b *broker) (any, error) {
		return b.DeleteTopics(ctx, "kadm-fourth", nowhere)
	}},
}

var configSteps = []step{
	{"DescribeTopicConfigs", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeTopicConfigs(ctx, topic)
	}},
	{"DescribeTopicConfigs of a topic that is not there", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeTopicConfigs(ctx, nowhere)
	}},
	{"DescribeBrokerConfigs", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeBrokerConfigs(ctx, 1)
	}},
	{"DescribeBrokerConfigs of all brokers", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeBrokerConfigs(ctx)
	}},
	{"AlterTopicConfigs", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterTopicConfigs(ctx, []kadm.AlterConfig{
			{Op: kadm.SetConfig, Name: "segment.bytes", Value: text("2097152")},
			{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: text("compact")},
			{Op: kadm.DeleteConfig, Name: "retention.ms"},
		}, topic)
	}},
	{"AlterTopicConfigs, subtracting", func(ctx context.Context, b *broker) (any, error) {
		policy := kadm.AlterConfig{Op: kadm.SubtractConfig, Name: "cleanup.policy", Value: text("compact")}
		return b.AlterTopicConfigs(ctx, []kadm.AlterConfig{policy}, topic)
	}},
	{"AlterTopicConfigs, an unknown name", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "no.such.config", Value: text("1")}}, topic)
	}},
	{"AlterTopicConfigs, a wrong value", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "segment.bytes", Value: text("few")}}, topic)
	}},
	{"AlterTopicConfigs of a topic that is not there", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "segment.ms", Value: text("1000")}}, nowhere)
	}},
	{"AlterTopicConfigs, appending to what is no list", func(ctx context.Context, b *broker) (any, error) {
		retention := kadm.AlterConfig{Op: kadm.AppendConfig, Name: "retention.ms", Value: text("1")}
		return b.AlterTopicConfigs(ctx, []kadm.AlterConfig{retention}, topic)
	}},
	{"ValidateAlterTopicConfigs", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateAlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "segment.ms", Value: text("9999")}}, topic)
	}},
	{"DescribeTopicConfigs when they were altered", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeTopicConfigs(ctx, topic)
	}},
	{"AlterTopicConfigsState", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: text("777600000")}}, topic)
	}},
	{"AlterTopicConfigsState, a wrong value", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: text("-7")}}, topic)
	}},
	{"ValidateAlterTopicConfigsState", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateAlterTopicConfigsState(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: text("5")}}, topic)
	}},
	{"DescribeTopicConfigs when they were replaced", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeTopicConfigs(ctx, topic)
	}},
	{"AlterBrokerConfigs of all brokers", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: text("604800001")}})
	}},
	{"AlterBrokerConfigs of one broker", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.segment.bytes", Value: text("1073741000")}}, 1)
	}},
	{"AlterBrokerConfigs, one that cannot be altered", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "node.id", Value: text("7")}}, 1)
	}},
	{"ValidateAlterBrokerConfigs", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateAlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: text("x")}}, 1)
	}},
	{"DescribeBrokerConfigs when they were altered", func(ctx context.Context, b *broker) (any, error) {
		for name, value := range map[string]string{
			"log.retention.ms": "604800001", "log.segment.bytes": "1073741000",
		} {
			if err := inForce(ctx, b, name, value); err != nil {
				return nil, err
			}
		}
		return b.DescribeBrokerConfigs(ctx, 1)
	}},
	{"DescribeTopicConfigs under other defaults", func(ctx context.Context, b *broker) (any, error) {
		return b.DescribeTopicConfigs(ctx, other)
	}},
	{"AlterBrokerConfigsState", func(ctx context.Context, b *broker) (any, error) {
		return b.AlterBrokerConfigsState(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: text("604800002")}}, 1)
	}},
	{"ValidateAlterBrokerConfigsState", func(ctx context.Context, b *broker) (any, error) {
		return b.ValidateAlterBrokerConfigsState(ctx, []kadm.AlterConfig{{Name: "log.retention.ms", Value: text("1")}}, 1)
	}},
	{"AlterBrokerConfigs back to the defaults", func(ctx context.Context, b *broker) (any, error) {
		back := []kadm.AlterConfig{{Op: kadm.DeleteConfig, Name: "log.retention.ms"}}
		if _, err := b.AlterBrokerConfigs(ctx, back); err != nil {
			return nil, err
		}
		return b.AlterBrokerConfigs(ctx, append(back, kadm.AlterConfig{
			Op: kadm.DeleteConfig, Name: "log.segment.bytes",
		}), 1)
	}},
	{"ListConfigResources", func(ctx context.Context, b *broker) (any, error) {
		return b.ListConfigResources(ctx)
	}},
	{"ListConfigResources of topics and brokers", func(ctx context.Context, b *broker) (any, error) {
		return b.ListConfigResources(ctx, kadm.ConfigResourceTopic, kadm.ConfigResourceBroker)
	}},
}
