// The AWS SDK for Go v2 with its defaults. The same checks as ../../python/boto3_client.py, which
// explains them.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"weir.invalid/clients/workload"
)

const (
	bursts           = 2
	burstRecords     = 500
	burstRecordBytes = 5 * 1024
	deadline         = 90 * time.Second
	// A second subscription of a consumer to a shard is refused for the first one's five seconds.
	untilNextSubscription = 5 * time.Second
	throttled             = "ProvisionedThroughputExceededException"
)

var (
	shards = []string{"shardId-000000000000", "shardId-000000000001"}
	// The lowest hash key lies in the first of two even shards, the highest in the second.
	hashKeys = []string{"0", "340282366920938463463374607431768211455"}
	// In the middle of the second shard.
	threeQuarters = "255211775190703847597530955573826158592"
)

// check holds what every step needs.
type check struct {
	kinesis *kinesis.Client
	stream  *string
}

func main() {
	endpoint := flag.String("endpoint", "", "URL of the Kinesis endpoint")
	stream := flag.String("stream", "", "name of the stream to make")
	expectThrottle := flag.Bool("expect-throttle", false, "fail when no record was over quota")
	flag.Parse()
	started := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 2*deadline)
	defer cancel()
	checks, err := run(ctx, *endpoint, *stream, *expectThrottle)
	version := workload.ModuleVersion("github.com/aws/aws-sdk-go-v2/service/kinesis")
	workload.Report("aws-sdk-go-v2", version, checks, started, err)
}

func run(ctx context.Context, endpoint, stream string, expectThrottle bool) (checks []string, err error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return checks, err
	}
	client := kinesis.NewFromConfig(settings, func(o *kinesis.Options) { o.BaseEndpoint = &endpoint })
	c := check{client, &stream}
	if err := c.createStream(ctx); err != nil {
		return checks, err
	}
	checks = append(checks, "create, describe, list")
	if err := c.iterators(ctx); err != nil {
		return checks, err
	}
	checks = append(checks, "five iterator types")
	refused, err := c.putRecords(ctx)
	if err != nil {
		return checks, err
	}
	if expectThrottle && refused == 0 {
		return checks, errors.New("5 MB at once to a shard of 1 MiB/s, and no record was over quota")
	}
	checks = append(checks, fmt.Sprintf("PutRecords, %d over quota and sent again", refused))
	if err := c.subscribe(ctx); err != nil {
		return checks, err
	}
	checks = append(checks, "a subscription and a reshard in flight")
	if err := c.deleteStream(ctx); err != nil {
		return checks, err
	}
	return append(checks, "delete"), nil
}

func shardIDs(of []types.Shard) (ids []string) {
	for _, shard := range of {
		ids = append(ids, *shard.ShardId)
	}
	return ids
}

func (c check) createStream(ctx context.Context) error {
	_, err := c.kinesis.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: c.stream, ShardCount: aws.Int32(2)})
	if err != nil {
		return err
	}
	described := &kinesis.DescribeStreamInput{StreamName: c.stream}
	waiter := kinesis.NewStreamExistsWaiter(c.kinesis, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, time.Second
	})
	if err := waiter.Wait(ctx, described, 30*time.Second); err != nil {
		return err
	}
	stream, err := c.kinesis.DescribeStream(ctx, described)
	if err != nil {
		return err
	}
	if ids := shardIDs(stream.StreamDescription.Shards); !slices.Equal(ids, shards) {
		return fmt.Errorf("DescribeStream shards: %v", ids)
	}
	summary, err := c.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: c.stream})
	if err != nil {
		return err
	}
	if open := *summary.StreamDescriptionSummary.OpenShardCount; open != 2 {
		return fmt.Errorf("DescribeStreamSummary open shards: %d", open)
	}
	listed, err := c.kinesis.ListShards(ctx, &kinesis.ListShardsInput{StreamName: c.stream})
	if err != nil {
		return err
	}
	if ids := shardIDs(listed.Shards); !slices.Equal(ids, shards) {
		return fmt.Errorf("ListShards: %v", ids)
	}
	var names []string
	pages := kinesis.NewListStreamsPaginator(c.kinesis, &kinesis.ListStreamsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		names = append(names, page.StreamNames...)
	}
	if !slices.Contains(names, *c.stream) {
		return fmt.Errorf("ListStreams lacks the stream: %v", names)
	}
	return nil
}

func (c check) iterator(ctx context.Context, input kinesis.GetShardIteratorInput) (*string, error) {
	input.StreamName = c.stream
	answer, err := c.kinesis.GetShardIterator(ctx, &input)
	if err != nil {
		return nil, err
	}
	return answer.ShardIterator, nil
}

// read reads until `count` records came and once more, so that a record too many is seen.
func (c check) read(ctx context.Context, iterator *string, count int) ([]types.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var records []types.Record
	for complete := false; !complete; {
		complete = len(records) >= count
		answer, err := c.kinesis.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: iterator})
		var exceeded *types.ProvisionedThroughputExceededException
		switch {
		case errors.As(err, &exceeded):
			// Two MiB and five calls a second for each shard: wait until the shard is out of debt.
			complete = false
			time.Sleep(500 * time.Millisecond)
		case err != nil:
			return nil, fmt.Errorf("%d of %d records came: %w", len(records), count, err)
		default:
			records = append(records, answer.Records...)
			iterator = answer.NextShardIterator
		}
		if len(records) < count {
			time.Sleep(200 * time.Millisecond)
		}
	}
	return records, nil
}

func (c check) expectData(ctx context.Context, kind string, input kinesis.GetShardIteratorInput, wanted []string) ([]types.Record, error) {
	input.ShardIteratorType = types.ShardIteratorType(kind)
	iterator, err := c.iterator(ctx, input)
	if err != nil {
		return nil, err
	}
	return c.expectDataFrom(ctx, kind+" on "+*input.ShardId, iterator, wanted)
}

func (c check) expectDataFrom(ctx context.Context, what string, iterator *string, wanted []string) ([]types.Record, error) {
	records, err := c.read(ctx, iterator, len(wanted))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var came []string
	for _, record := range records {
		came = append(came, string(record.Data))
	}
	if !slices.Equal(came, wanted) {
		return nil, fmt.Errorf("%s: %q instead of %q", what, came, wanted)
	}
	return records, nil
}

// putFive writes five records to each shard, one PutRecord each; the data in order per shard.
func (c check) putFive(ctx context.Context, half string) (written [2][]string, err error) {
	for number := range 5 {
		for index, shard := range shards {
			data := fmt.Sprintf("%s %s %d", shard, half, number)
			answer, err := c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{
				StreamName:      c.stream,
				Data:            []byte(data),
				PartitionKey:    aws.String(fmt.Sprintf("key-%d", number)),
				ExplicitHashKey: &hashKeys[index],
			})
			if err != nil {
				return written, err
			}
			if *answer.ShardId != shard {
				return written, fmt.Errorf("PutRecord of an explicit hash key went to %s, not %s", *answer.ShardId, shard)
			}
			written[index] = append(written[index], data)
		}
	}
	return written, nil
}

func (c check) iterators(ctx context.Context) error {
	var latestAtFirst [2]*string
	for index := range shards {
		input := kinesis.GetShardIteratorInput{ShardId: &shards[index], ShardIteratorType: types.ShardIteratorTypeLatest}
		var err error
		if latestAtFirst[index], err = c.iterator(ctx, input); err != nil {
			return err
		}
	}
	early, err := c.putFive(ctx, "early")
	if err != nil {
		return err
	}
	time.Sleep(1500 * time.Millisecond)
	late, err := c.putFive(ctx, "late")
	if err != nil {
		return err
	}
	for index := range shards {
		everything := slices.Concat(early[index], late[index])
		if _, err := c.expectDataFrom(ctx, "LATEST before the writes", latestAtFirst[index], everything); err != nil {
			return err
		}
		if err := c.iteratorsOf(ctx, &shards[index], everything); err != nil {
			return err
		}
	}
	return nil
}

// iteratorsOf checks each iterator type on a shard that holds `everything`, with a pause in its
// middle.
func (c check) iteratorsOf(ctx context.Context, shard *string, everything []string) error {
	start := kinesis.GetShardIteratorInput{ShardId: shard}
	records, err := c.expectData(ctx, "TRIM_HORIZON", start, everything)
	if err != nil {
		return err
	}
	last := big.NewInt(0)
	for index, record := range records {
		if key := fmt.Sprintf("key-%d", index%5); *record.PartitionKey != key {
			return fmt.Errorf("record %d has partition key %s, not %s", index, *record.PartitionKey, key)
		}
		number, ok := new(big.Int).SetString(*record.SequenceNumber, 10)
		if !ok || number.Cmp(last) <= 0 {
			return fmt.Errorf("sequence number %s after %s", *record.SequenceNumber, last)
		}
		last = number
	}
	third := kinesis.GetShardIteratorInput{ShardId: shard, StartingSequenceNumber: records[2].SequenceNumber}
	if _, err := c.expectData(ctx, "AT_SEQUENCE_NUMBER", third, everything[2:]); err != nil {
		return err
	}
	if _, err := c.expectData(ctx, "AFTER_SEQUENCE_NUMBER", third, everything[3:]); err != nil {
		return err
	}
	// Between the halves, so that no rounding of the time matters.
	pause := records[4].ApproximateArrivalTimestamp.Add(750 * time.Millisecond)
	byTime := kinesis.GetShardIteratorInput{ShardId: shard, Timestamp: &pause}
	if _, err := c.expectData(ctx, "AT_TIMESTAMP", byTime, everything[5:]); err != nil {
		return err
	}
	_, err = c.expectData(ctx, "LATEST", start, nil)
	return err
}

func burstName(burst, number int) string { return fmt.Sprintf("burst %d %03d ", burst, number) }

// putUntilIn sends one PutRecords, and what was over quota again until none fails.
func (c check) putUntilIn(ctx context.Context, burst int) (refused int, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	var waiting []types.PutRecordsRequestEntry
	for number := range burstRecords {
		data := bytes.Repeat([]byte("."), burstRecordBytes)
		copy(data, burstName(burst, number))
		entry := types.PutRecordsRequestEntry{Data: data, PartitionKey: aws.String("burst"), ExplicitHashKey: &hashKeys[0]}
		waiting = append(waiting, entry)
	}
	for {
		answer, err := c.kinesis.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: c.stream, Records: waiting})
		var exceeded *types.ProvisionedThroughputExceededException
		switch {
		case errors.As(err, &exceeded):
		case err != nil:
			return refused, fmt.Errorf("PutRecords with %d records left: %w", len(waiting), err)
		default:
			if waiting, err = failed(waiting, answer); err != nil {
				return refused, err
			}
		}
		if len(waiting) == 0 {
			return refused, nil
		}
		refused += len(waiting)
		time.Sleep(300 * time.Millisecond)
	}
}

// failed gives the records of a request that its answer refuses for want of quota.
func failed(sent []types.PutRecordsRequestEntry, answer *kinesis.PutRecordsOutput) (again []types.PutRecordsRequestEntry, err error) {
	if len(answer.Records) != len(sent) {
		return nil, fmt.Errorf("PutRecords of %d records has %d results", len(sent), len(answer.Records))
	}
	for index, result := range answer.Records {
		switch {
		case result.ErrorCode == nil && *result.ShardId != shards[0]:
			return nil, fmt.Errorf("PutRecords put a record into %s", *result.ShardId)
		case result.ErrorCode != nil && *result.ErrorCode != throttled:
			return nil, fmt.Errorf("PutRecords refused a record with %s", *result.ErrorCode)
		case result.ErrorCode != nil:
			again = append(again, sent[index])
		}
	}
	if count := aws.ToInt32(answer.FailedRecordCount); int(count) != len(again) {
		return nil, fmt.Errorf("FailedRecordCount is %d with %d failed records", count, len(again))
	}
	return again, nil
}

func (c check) putRecords(ctx context.Context) (refused int, err error) {
	latest := kinesis.GetShardIteratorInput{ShardIteratorType: types.ShardIteratorTypeLatest}
	var starts [2]*string
	for index := range shards {
		latest.ShardId = &shards[index]
		if starts[index], err = c.iterator(ctx, latest); err != nil {
			return 0, err
		}
	}
	type outcome struct {
		refused int
		err     error
	}
	outcomes := make(chan outcome)
	var wanted []string
	for burst := range bursts {
		go func() {
			refused, err := c.putUntilIn(ctx, burst)
			outcomes <- outcome{refused, err}
		}()
		for number := range burstRecords {
			wanted = append(wanted, strings.TrimSpace(burstName(burst, number)))
		}
	}
	for range bursts {
		o := <-outcomes
		refused += o.refused
		err = errors.Join(err, o.err)
	}
	if err != nil {
		return refused, err
	}
	var came []string
	for index, count := range []int{len(wanted), 0} {
		records, err := c.read(ctx, starts[index], count)
		if err != nil {
			return refused, err
		}
		for _, record := range records {
			if len(record.Data) != burstRecordBytes {
				return refused, fmt.Errorf("a record of %d bytes came back", len(record.Data))
			}
			came = append(came, strings.TrimRight(string(record.Data), ". "))
		}
	}
	slices.Sort(came)
	if !slices.Equal(came, wanted) {
		return refused, fmt.Errorf("%d records came back, not each of %d once", len(came), len(wanted))
	}
	return refused, nil
}

// putPushed writes numbered records with the highest hash key.
func (c check) putPushed(ctx context.Context, from, to int) (written []string, err error) {
	for number := from; number < to; number++ {
		data := fmt.Sprintf("pushed %d", number)
		_, err := c.kinesis.PutRecord(ctx, &kinesis.PutRecordInput{
			StreamName: c.stream, Data: []byte(data), PartitionKey: aws.String("pushed"), ExplicitHashKey: &hashKeys[1],
		})
		if err != nil {
			return written, err
		}
		written = append(written, data)
	}
	return written, nil
}

// open subscribes to the second shard.
func (c check) open(ctx context.Context, consumer *string, start *types.StartingPosition) (*kinesis.SubscribeToShardEventStream, error) {
	answer, err := c.kinesis.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: consumer, ShardId: &shards[1], StartingPosition: start,
	})
	if err != nil {
		return nil, err
	}
	return answer.GetStream(), nil
}

// pushed is what came by subscriptions, one after the other.
type pushed struct {
	data, children []string
	continuation   *string
}

// receive takes a subscription's events to its end, or until its connection breaks.
func (p *pushed) receive(events *kinesis.SubscribeToShardEventStream) error {
	defer events.Close()
	for event := range events.Events() {
		came, ok := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ok {
			return fmt.Errorf("an event of another kind: %T", event)
		}
		for _, record := range came.Value.Records {
			p.data = append(p.data, string(record.Data))
		}
		for _, child := range came.Value.ChildShards {
			p.children = append(p.children, *child.ShardId)
		}
		p.continuation = came.Value.ContinuationSequenceNumber
	}
	return events.Err()
}

// subscribe is pushed the records of the second shard while that is split, to its end; the rest is
// in a child.
//
// Where the SDK closes the connection itself, the subscription is renewed where it was, as every
// consumer must. smithy-go 1.28.8 does so when an answer comes before the goroutine that wrote the
// request has looked for the end of its body: ClientHandler.Handle closes the body, whose WriteTo
// gives io.EOF from then on, and net/http gives up a connection whose request ended with an error.
// Of requests with a whole answer nobody notices. A server next to the client, on a busy machine,
// is early enough for that once in 30 runs.
func (c check) subscribe(ctx context.Context) error {
	summary, err := c.kinesis.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: c.stream})
	if err != nil {
		return err
	}
	arn := summary.StreamDescriptionSummary.StreamARN
	registered, err := c.kinesis.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{
		StreamARN: arn, ConsumerName: aws.String("consumer"),
	})
	if err != nil {
		return err
	}
	began := time.Now()
	consumer := registered.Consumer.ConsumerARN
	events, err := c.open(ctx, consumer, &types.StartingPosition{Type: types.ShardIteratorTypeLatest})
	if err != nil {
		return err
	}
	type outcome struct {
		parent, child []string
		err           error
	}
	written := make(chan outcome, 1)
	go func() {
		parent, err := c.putPushed(ctx, 0, 25)
		if err == nil {
			_, err = c.kinesis.SplitShard(ctx, &kinesis.SplitShardInput{
				StreamName: c.stream, ShardToSplit: &shards[1], NewStartingHashKey: &threeQuarters,
			})
		}
		var child []string
		if err == nil {
			child, err = c.putPushed(ctx, 25, 50)
		}
		written <- outcome{parent, child, err}
	}()
	var all pushed
	start := &types.StartingPosition{Type: types.ShardIteratorTypeAtTimestamp, Timestamp: &began}
	for {
		err := all.receive(events)
		if err == nil {
			break
		}
		if !errors.Is(err, net.ErrClosed) {
			return err
		}
		if all.continuation != nil {
			start = &types.StartingPosition{Type: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: all.continuation}
		}
		time.Sleep(untilNextSubscription)
		if events, err = c.open(ctx, consumer, start); err != nil {
			return err
		}
	}
	wrote := <-written
	if wrote.err != nil {
		return wrote.err
	}
	if !slices.Equal(all.data, wrote.parent) || len(all.children) != 2 {
		return fmt.Errorf("the subscription gave %q and the children %q", all.data, all.children)
	}
	upper := kinesis.GetShardIteratorInput{ShardId: &all.children[1]}
	if _, err := c.expectData(ctx, "TRIM_HORIZON", upper, wrote.child); err != nil {
		return err
	}
	_, err = c.kinesis.DeregisterStreamConsumer(ctx, &kinesis.DeregisterStreamConsumerInput{
		ConsumerARN: consumer,
	})
	return err
}

func (c check) deleteStream(ctx context.Context) error {
	if _, err := c.kinesis.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: c.stream}); err != nil {
		return err
	}
	waiter := kinesis.NewStreamNotExistsWaiter(c.kinesis, func(o *kinesis.StreamNotExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Second, time.Second
	})
	return waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: c.stream}, 30*time.Second)
}
