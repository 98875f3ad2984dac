//! The quotas of shards through the core's façade, on the in-memory log and a manual clock.

mod broker_support;

use broker_support::{Bench, fetch_of, fetch_one, plain, quota_wait, read_of, routed};
use std::time::Duration;
use weir_core::error::{AppendError, ReadError};
use weir_core::in_memory;
use weir_core::partition::append::QuotaWait;
use weir_core::quota::limits::QuotaPolicy;
use weir_core::read::records::CallQuota;
use weir_core::stream::stream::Routing;
use weir_model::ids::PartitionIndex;

#[tokio::test]
async fn a_shards_quota_refuses_per_record_and_pays_its_debt() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    let records: Vec<_> = (0..1200).map(|n| routed("k", &format!("{n}"))).collect();
    let places = bench.broker.append_routed(&stream, &records).await;
    let over_quota = AppendError::OverQuota { partition: PartitionIndex::ZERO };
    let refused = |result: &Result<_, AppendError>| result.as_ref().err() == Some(&over_quota);
    assert_eq!(places.iter().filter(|result| result.is_ok()).count(), 1000);
    assert_eq!(places.iter().filter(|result| refused(result)).count(), 200);
    bench.clock.advance(Duration::from_millis(100));
    let places = bench.broker.append_routed(&stream, &records).await;
    assert_eq!(places.iter().filter(|result| result.is_ok()).count(), 100);
}

#[tokio::test]
async fn a_batch_waits_for_quota_no_longer_than_its_client_does() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    let large = plain(&[&"x".repeat(1_000_000)]);
    for _ in 0..2 {
        bench.append(&stream, large.clone()).await.expect("there are tokens, the debt comes later");
    }
    let over_quota = AppendError::OverQuota { partition: PartitionIndex::ZERO };
    assert_eq!(bench.append(&stream, large.clone()).await, Err(over_quota), "0.9 s of debt");
    bench.clock.advance(Duration::from_secs(1));
    bench.append(&stream, large).await.expect("the debt is paid");
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_refused_at_once_where_too_many_bytes_wait_for_quota() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    let zero = PartitionIndex::ZERO;
    let large = plain(&[&"x".repeat(1_000_000)]);
    for _ in 0..2 {
        bench.append(&stream, large.clone()).await.expect("there are tokens, the debt comes later");
    }
    let mut share = bench.broker.request_budget().begin(20 << 20);
    while share.covered_bytes() < 20 << 20 {
        share.grow().await;
    }
    let patient = QuotaWait { time_max: Duration::from_secs(30), held: share.held() };
    let append = || bench.broker.append(&stream, zero, large.clone(), patient);
    let mut first = Box::pin(append());
    let waits = tokio::time::timeout(Duration::from_millis(1), &mut first).await;
    assert!(waits.is_err(), "the first waits");
    let second = tokio::time::timeout(Duration::from_millis(1), append()).await;
    let refused = second.expect("no wait").expect_err("40 MiB would wait");
    assert_eq!(refused, AppendError::OverQuota { partition: zero });
    drop(first);
    let third = tokio::time::timeout(Duration::from_millis(1), append()).await;
    assert!(third.is_err(), "who gives up makes room");
}

#[tokio::test]
async fn quotas_hold_for_kinesis_streams_and_only_while_they_are_on() {
    let mut options = in_memory::default_options();
    options.quotas = QuotaPolicy::Off;
    let records: Vec<_> = (0..1200).map(|n| routed("k", &format!("{n}"))).collect();
    for (bench, routing) in
        [(Bench::with(options).await, Routing::ByHash), (Bench::new().await, Routing::ByPartition)]
    {
        let stream = bench.stream("free", routing, 1).await;
        let places = bench.broker.append_routed(&stream, &records).await;
        assert!(places.iter().all(Result::is_ok), "{routing:?}");
    }
}

#[tokio::test]
async fn the_sixth_call_within_a_second_is_refused() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    let mut request = read_of(&stream, PartitionIndex::ZERO, 0);
    request.call = CallQuota::Charged;
    for call in 1..=5 {
        bench.broker.read(&request).await.unwrap_or_else(|error| panic!("call {call}: {error:?}"));
    }
    let sixth = bench.broker.read(&request).await;
    assert!(matches!(sixth, Err(ReadError::OverQuota { .. })));
    bench.clock.advance(Duration::from_millis(201));
    bench.broker.read(&request).await.expect("a fifth of a second later");
}

#[tokio::test(start_paused = true)]
async fn batches_are_admitted_in_the_order_in_which_they_came() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    let large = plain(&[&"x".repeat(1_000_000)]);
    for _ in 0..2 {
        bench.append(&stream, large.clone()).await.expect("there are tokens, the debt comes later");
    }
    let late = |text: &str| plain(&[&format!("{text}{}", "x".repeat(1_000_000))]);
    let append =
        |batch| bench.broker.append(&stream, PartitionIndex::ZERO, batch, quota_wait(9_000));
    let (mut first, mut second) = (Box::pin(append(late("1"))), Box::pin(append(late("2"))));
    let moment = Duration::from_millis(1);
    assert!(tokio::time::timeout(moment, &mut first).await.is_err(), "it waits");
    assert!(tokio::time::timeout(moment, &mut second).await.is_err(), "it waits behind the first");
    // The debt is paid, but the second, which is asked first, is not next.
    bench.clock.advance(Duration::from_secs(1));
    assert!(tokio::time::timeout(moment, &mut second).await.is_err(), "it is not its turn");
    let first = first.await.expect("admitted").settled().await.expect("kept");
    bench.clock.advance(Duration::from_secs(1));
    let second = second.await.expect("admitted").settled().await.expect("kept");
    assert!(first.base_offset < second.base_offset);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_waits_for_more_has_paid_for_what_it_has() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    bench.append(&stream, plain(&[&"x".repeat(1_000_000)])).await.expect("within the quota");
    let mut patient = fetch_of(&stream, 0, 500);
    patient.bytes_min = 8 << 20;
    let mut waiting = Box::pin(fetch_one(&bench, &patient));
    let waits = tokio::time::timeout(Duration::from_millis(1), &mut waiting).await;
    assert!(waits.is_err(), "it holds 1 MB and wants 8 MiB");
    // Of the shard's 2 MiB there is room for one more, and the rest admits a third into debt.
    let call = read_of(&stream, PartitionIndex::ZERO, 0);
    for _ in 0..2 {
        bench.broker.read(&call).await.expect("there are tokens");
    }
    let refused = bench.broker.read(&call).await;
    assert!(matches!(refused, Err(ReadError::OverQuota { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_keeps_what_it_has_paid_for_while_it_waits_for_more() {
    let bench = Bench::new().await;
    let stream = bench.stream("clicks", Routing::ByHash, 1).await;
    bench.append(&stream, plain(&[&"x".repeat(1_000_000)])).await.expect("within the quota");
    let mut whole = fetch_of(&stream, 0, 0);
    whole.partitions[0].bytes_max = 8 << 20;
    whole.bytes_max = 8 << 20;
    for _ in 0..2 {
        assert!(fetch_one(&bench, &whole).await.expect("in range").bytes > 0);
    }
    // The third uses up the quota, and wants more than there is.
    whole.bytes_min = 8 << 20;
    whole.wait_max = Duration::from_millis(500);
    assert!(fetch_one(&bench, &whole).await.expect("in range").bytes > 1_000_000);
    whole.wait_max = Duration::ZERO;
    assert_eq!(fetch_one(&bench, &whole).await.expect("in range").bytes, 0, "in debt");
}
