//! The one table of what is served: ApiVersions, the version check, the counters and
//! `docs/support.md` all come from it.

use std::sync::Arc;

use weir_core::faults::BreakOff;
use weir_core::metrics::RequestMetrics;
use weir_core::request_budget::HeldBytes;
use weir_kafka_protocol::{ApiKey, Reader, RequestHeader};

use crate::api;
use crate::bootstrap::is_past_bootstrap;
use crate::close::{CloseReason, Closed, RequestName};
use crate::connection::ConnectionInfo;
use crate::exchange::{Answer, Exchange, PendingAnswer, RequestContext, Started};
use crate::faults;
use crate::service::KafkaService;

/// One served API.
#[derive(Debug)]
pub(crate) struct ServedApi {
    pub(crate) key: ApiKey,
    /// First version that works.
    pub(crate) first: i16,
    /// Last version that works.
    pub(crate) last: i16,
    /// First version that ApiVersions lists: `first`, but for Produce.
    pub(crate) listed_from: i16,
    /// Begins a request whose version is within `first` and `last`.
    start: fn(Exchange) -> Started,
    /// What is left out on purpose, one sentence each.
    pub(crate) gaps: &'static [&'static str],
}

impl ServedApi {
    const fn new(
        key: ApiKey,
        (first, last): (i16, i16),
        start: fn(Exchange) -> Started,
        gaps: &'static [&'static str],
    ) -> ServedApi {
        ServedApi { key, first, last, listed_from: first, start, gaps }
    }

    const fn listed_from(self, version: i16) -> ServedApi {
        ServedApi { listed_from: version, ..self }
    }
}

/// What is served, by key.
pub(crate) static SERVED: &[ServedApi] = {
    use api::*;
    &[
        ServedApi::new(ApiKey::Produce, (3, 13), produce::start, produce::GAPS).listed_from(0),
        ServedApi::new(ApiKey::Fetch, (4, 18), fetch::start, fetch::GAPS),
        ServedApi::new(
            ApiKey::ListOffsets,
            (1, 11),
            |exchange| exchange.in_turn(list_offsets::handle),
            list_offsets::GAPS,
        ),
        ServedApi::new(
            ApiKey::Metadata,
            (0, 13),
            |exchange| exchange.in_turn(metadata::handle),
            metadata::GAPS,
        ),
        ServedApi::new(
            ApiKey::OffsetCommit,
            (2, 10),
            |exchange| exchange.in_turn(offset_commit::handle),
            offset_commit::GAPS,
        ),
        ServedApi::new(
            ApiKey::OffsetFetch,
            (1, 10),
            |exchange| exchange.in_turn(offset_fetch::handle),
            offset_fetch::GAPS,
        ),
        ServedApi::new(
            ApiKey::FindCoordinator,
            (0, 6),
            |exchange| exchange.in_turn(find_coordinator::handle),
            find_coordinator::GAPS,
        ),
        ServedApi::new(
            ApiKey::JoinGroup,
            (0, 9),
            |exchange| exchange.in_turn(join_group::handle),
            join_group::GAPS,
        ),
        ServedApi::new(
            ApiKey::Heartbeat,
            (0, 4),
            |exchange| exchange.in_turn(heartbeat::handle),
            heartbeat::GAPS,
        ),
        ServedApi::new(
            ApiKey::LeaveGroup,
            (0, 5),
            |exchange| exchange.in_turn(leave_group::handle),
            leave_group::GAPS,
        ),
        ServedApi::new(
            ApiKey::SyncGroup,
            (0, 5),
            |exchange| exchange.in_turn(sync_group::handle),
            sync_group::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeGroups,
            (0, 6),
            |exchange| exchange.in_turn(describe_groups::handle),
            describe_groups::GAPS,
        ),
        ServedApi::new(
            ApiKey::ListGroups,
            (0, 5),
            |exchange| exchange.in_turn(list_groups::handle),
            list_groups::GAPS,
        ),
        ServedApi::new(
            ApiKey::ApiVersions,
            (0, 4),
            |exchange| exchange.in_turn(api_versions::handle),
            api_versions::GAPS,
        ),
        ServedApi::new(
            ApiKey::CreateTopics,
            (2, 7),
            |exchange| exchange.in_turn(create_topics::handle),
            create_topics::GAPS,
        ),
        ServedApi::new(
            ApiKey::DeleteTopics,
            (1, 6),
            |exchange| exchange.in_turn(delete_topics::handle),
            delete_topics::GAPS,
        ),
        ServedApi::new(
            ApiKey::DeleteRecords,
            (0, 2),
            |exchange| exchange.in_turn(delete_records::handle),
            delete_records::GAPS,
        ),
        ServedApi::new(
            ApiKey::InitProducerId,
            (0, 5),
            |exchange| exchange.in_turn(init_producer_id::handle),
            init_producer_id::GAPS,
        ),
        ServedApi::new(
            ApiKey::OffsetForLeaderEpoch,
            (2, 4),
            |exchange| exchange.in_turn(offset_for_leader_epoch::handle),
            offset_for_leader_epoch::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeConfigs,
            (1, 4),
            |exchange| exchange.in_turn(describe_configs::handle),
            describe_configs::GAPS,
        ),
        ServedApi::new(
            ApiKey::AlterConfigs,
            (0, 2),
            |exchange| exchange.in_turn(alter_configs::handle),
            alter_configs::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeLogDirs,
            (1, 4),
            |exchange| exchange.in_turn(describe_log_dirs::handle),
            describe_log_dirs::GAPS,
        ),
        ServedApi::new(
            ApiKey::CreatePartitions,
            (0, 3),
            |exchange| exchange.in_turn(create_partitions::handle),
            create_partitions::GAPS,
        ),
        ServedApi::new(
            ApiKey::DeleteGroups,
            (0, 2),
            |exchange| exchange.in_turn(delete_groups::handle),
            delete_groups::GAPS,
        ),
        ServedApi::new(
            ApiKey::ElectLeaders,
            (0, 2),
            |exchange| exchange.in_turn(elect_leaders::handle),
            elect_leaders::GAPS,
        ),
        ServedApi::new(
            ApiKey::IncrementalAlterConfigs,
            (0, 1),
            |exchange| exchange.in_turn(incremental_alter_configs::handle),
            incremental_alter_configs::GAPS,
        ),
        ServedApi::new(
            ApiKey::AlterPartitionReassignments,
            (0, 1),
            |exchange| exchange.in_turn(alter_partition_reassignments::handle),
            alter_partition_reassignments::GAPS,
        ),
        ServedApi::new(
            ApiKey::ListPartitionReassignments,
            (0, 0),
            |exchange| exchange.in_turn(list_partition_reassignments::handle),
            list_partition_reassignments::GAPS,
        ),
        ServedApi::new(
            ApiKey::OffsetDelete,
            (0, 0),
            |exchange| exchange.in_turn(offset_delete::handle),
            offset_delete::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeClientQuotas,
            (0, 1),
            |exchange| exchange.in_turn(describe_client_quotas::handle),
            describe_client_quotas::GAPS,
        ),
        ServedApi::new(
            ApiKey::AlterClientQuotas,
            (0, 1),
            |exchange| exchange.in_turn(alter_client_quotas::handle),
            alter_client_quotas::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeUserScramCredentials,
            (0, 0),
            |exchange| exchange.in_turn(describe_user_scram_credentials::handle),
            describe_user_scram_credentials::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeCluster,
            (0, 2),
            |exchange| exchange.in_turn(describe_cluster::handle),
            describe_cluster::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeProducers,
            (0, 0),
            |exchange| exchange.in_turn(describe_producers::handle),
            describe_producers::GAPS,
        ),
        ServedApi::new(
            ApiKey::ConsumerGroupHeartbeat,
            (0, 1),
            |exchange| exchange.in_turn(consumer_group_heartbeat::handle),
            consumer_group_heartbeat::GAPS,
        ),
        ServedApi::new(
            ApiKey::ConsumerGroupDescribe,
            (0, 1),
            |exchange| exchange.in_turn(consumer_group_describe::handle),
            consumer_group_describe::GAPS,
        ),
        ServedApi::new(
            ApiKey::ListConfigResources,
            (0, 1),
            |exchange| exchange.in_turn(list_config_resources::handle),
            list_config_resources::GAPS,
        ),
        ServedApi::new(
            ApiKey::DescribeTopicPartitions,
            (0, 0),
            |exchange| exchange.in_turn(describe_topic_partitions::handle),
            describe_topic_partitions::GAPS,
        ),
    ]
};

/// A request that was begun.
pub(crate) struct Begun {
    pub(crate) name: RequestName,
    pub(crate) answer: PendingAnswer,
    /// The counters of its API.
    pub(crate) metrics: Arc<RequestMetrics>,
}

/// Reads the header of a request, finds its handler and begins it.
pub(crate) async fn begin(
    service: &Arc<KafkaService>,
    connection: &Arc<ConnectionInfo>,
    frame: bytes::Bytes,
    held: HeldBytes,
) -> Result<Begun, Closed> {
    let frame_bytes = frame.len();
    let mut body = Reader::new(frame);
    let header = RequestHeader::decode(&mut body)?;
    let name = RequestName { api_key: header.api_key, version: header.api_version };
    let Some(served) = SERVED.iter().find(|api| api.key == header.api_key) else {
        return Err(CloseReason::UnservedApi.of(name));
    };
    if is_past_bootstrap(header.api_key) && connection.pass_bootstrap() {
        service.bootstraps().followed(connection.ends.peer.ip());
    }
    let metrics = service.metrics_of(served);
    metrics.requests.add(1);
    metrics.bytes_in.add(frame_bytes as u64);
    let mut context = RequestContext {
        service: Arc::clone(service),
        connection: Arc::clone(connection),
        version: header.api_version,
        client_id: header.client_id.clone(),
        metrics: Arc::clone(&metrics),
        request_bytes: frame_bytes,
        held,
        fault: None,
    };
    context.fault = faults::of_request(&context, name.api_key);
    let fault = context.fault.clone();
    if let Some(fault) = &fault {
        tokio::time::sleep(fault.latency()).await;
        if fault.disconnect() == Some(BreakOff::Before) {
            return Err(CloseReason::FaultOnRequest.of(name));
        }
    }
    let exchange = Exchange::new(context, header, body);
    let started = if (served.first..=served.last).contains(&name.version) {
        (served.start)(exchange).await
    } else if name.api_key == ApiKey::ApiVersions {
        // The one request whose version a client guesses, so the one that is answered (KIP-511).
        api::api_versions::answer_unsupported_version(&exchange)
    } else {
        Err(CloseReason::UnservedVersion { first: served.first, last: served.last })
    };
    match started {
        Ok(pending) => {
            let answer: PendingAnswer = match fault.and_then(|fault| fault.disconnect()) {
                None => pending,
                Some(_) => Box::pin(lost(pending)),
            };
            Ok(Begun { name, answer, metrics })
        }
        Err(reason) => {
            metrics.errors.add(1);
            Err(reason.of(name))
        }
    }
}

/// Waits for an answer and breaks off in its place.
async fn lost(answer: PendingAnswer) -> Result<Option<Answer>, CloseReason> {
    answer.await?;
    Err(CloseReason::FaultOnRequest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_version_is_one_whose_codec_is_proven() {
        for api in SERVED {
            let (first, last) = api.key.stable_versions();
            assert!(first <= api.first && api.last <= last, "{:?}", api.key);
            assert!(api.first <= api.last && api.listed_from <= api.first, "{:?}", api.key);
        }
    }

    #[test]
    fn every_api_stands_in_the_table_once_and_in_order() {
        for (index, api) in SERVED.iter().enumerate() {
            let mut before = SERVED[..index].iter();
            assert!(before.all(|other| other.key.as_i16() < api.key.as_i16()), "{:?}", api.key);
        }
    }
}
