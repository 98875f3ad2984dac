// sarama with its defaults: see the package workload. Success reports are on, as its synchronous
// producer demands.
package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/IBM/sarama"

	"weir.invalid/clients/workload"
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func main() {
	workload.Main("sarama", workload.ModuleVersion("github.com/IBM/sarama"), round)
}

func round(bootstrap, topic, codec string) error {
	brokers := []string{bootstrap}
	admin, err := sarama.NewClusterAdmin(brokers, sarama.NewConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	detail := &sarama.TopicDetail{NumPartitions: workload.Partitions, ReplicationFactor: 1}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	if err := write(brokers, topic, codec); err != nil {
		return err
	}
	seen := workload.NewRound(codec)
	if err := read(brokers, topic, seen, workload.Half); err != nil {
		return err
	}
	firstHalfCount := seen.Count()
	if err := read(brokers, topic, seen, workload.Records); err != nil {
		return err
	}
	if err := seen.Check(firstHalfCount); err != nil {
		return err
	}
	return checkCommits(admin, topic)
}

func write(brokers []string, topic, codec string) error {
	config := sarama.NewConfig()
	config.Producer.Compression = codecs[codec]
	config.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, config)
	if err != nil {
		return err
	}
	messages := make([]*sarama.ProducerMessage, workload.Records)
	for number := range messages {
		messages[number] = &sarama.ProducerMessage{
			Topic: topic,
			Key:   sarama.StringEncoder(workload.Key(number)),
			Value: sarama.StringEncoder(workload.Value(codec, number)),
			Headers: []sarama.RecordHeader{
				{Key: []byte(workload.HeaderName), Value: []byte(strconv.Itoa(number))},
			},
		}
	}
	if err := producer.SendMessages(messages); err != nil {
		return fmt.Errorf("%s: write: %w", codec, err)
	}
	return producer.Close()
}

// member is one member of a group; it takes records until the group has `until`, then stops itself.
type member struct {
	until int
	stop  context.CancelFunc

	// The claims of the four partitions run at the same time; the lock covers what follows it.
	lock    sync.Mutex
	seen    *workload.Round
	failure error
}

func (m *member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case message, open := <-claim.Messages():
			if !open || !m.take(session, message) {
				return nil
			}
		}
	}
}

// take checks and marks one record, unless there are enough; then, or on a mismatch, it stops the
// member.
func (m *member) take(session sarama.ConsumerGroupSession, message *sarama.ConsumerMessage) bool {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.failure == nil && m.seen.Count() < m.until {
		header := ""
		if len(message.Headers) == 1 && string(message.Headers[0].Key) == workload.HeaderName {
			header = string(message.Headers[0].Value)
		}
		m.failure = m.seen.Take(message.Partition, string(message.Key), string(message.Value), header)
		session.MarkMessage(message, "")
	}
	if m.failure != nil || m.seen.Count() == m.until {
		m.stop()
		return false
	}
	return true
}

func read(brokers []string, topic string, seen *workload.Round, until int) error {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	group, err := sarama.NewConsumerGroup(brokers, topic+"-group", config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), workload.Deadline)
	defer cancel()
	m := &member{seen: seen, until: until, stop: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, m); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: consume: %w", seen.Codec, err)
		}
	}
	// Leaving commits what was marked.
	if err := group.Close(); err != nil {
		return err
	}
	if m.failure != nil {
		return m.failure
	}
	if seen.Count() < until {
		return fmt.Errorf("%s: only %d of %d records came", seen.Codec, seen.Count(), until)
	}
	return nil
}

func checkCommits(admin sarama.ClusterAdmin, topic string) error {
	partitions := map[string][]int32{topic: {0, 1, 2, 3}}
	offsets, err := admin.ListConsumerGroupOffsets(topic+"-group", partitions)
	if err != nil {
		return err
	}
	total := int64(0)
	for _, block := range offsets.Blocks[topic] {
		total += max(block.Offset, 0)
	}
	if total != workload.Records {
		return fmt.Errorf("the commits of %s add up to %d", topic, total)
	}
	return nil
}
