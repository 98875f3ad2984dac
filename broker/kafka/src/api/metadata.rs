//! Metadata (key 3), versions 0 to 13: the one broker, and topics with their partitions.
//!
//! - No list of topics asks for all of them, ordered by name, closed partitions and the broker's
//!   own topics (marked internal) included. In version 0 an empty list asks for all.
//! - A named topic that is missing is made with the default number of partitions, if the broker and
//!   the request (4+) allow it; all of one request in one commit. It is ready in the same answer.
//!   One that the client's controller mutation quota does not reach stays unknown meanwhile.
//! - The broker's address depends on who asks; see `advertised`.
//! - 7+: the leader epoch is the log epoch. 10+: topic ids; asking by id from 12 on, before that it
//!   is INVALID_REQUEST. A request that has one id is read by ids alone, as in Kafka.
//! - Authorised operations, where asked for, are all of them, since there are no ACLs.
//!
//! Left out: racks and offline replicas (there is one node), REBOOTSTRAP_REQUIRED (13+).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use tracing::{debug, warn};
use weir_core::error::CreateStreamError;
use weir_core::settings::broker_settings::AutoCreate;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_kafka_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use weir_kafka_protocol::{ErrorCode, Uuid};
use weir_model::ids::StreamName;

use crate::advertised::HostPort;
use crate::close::CloseReason;
use crate::connection::Ends;
use crate::errors::create_refusal;
use crate::exchange::RequestContext;
use crate::topic::{RECORDS_PER_REQUEST_MAX, TopicRef, topic_id};

pub(crate) const GAPS: &[&str] = &[];

/// First version that may ask by topic id.
const ASKS_BY_ID_FROM: i16 = 12;
/// Read, write, create, delete, alter, describe, describe configs, alter configs: 1 << their codes.
pub(crate) const TOPIC_OPERATIONS_ALL: i32 = 0b1101_1111_1000;
/// Create, alter, describe, cluster action, describe configs, alter configs, idempotent write.
pub(crate) const CLUSTER_OPERATIONS_ALL: i32 = 0b1_1111_1010_0000;
/// Kafka's "not asked for".
pub(crate) const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

pub(crate) async fn handle(
    context: RequestContext,
    request: MetadataRequest,
) -> Result<MetadataResponse, CloseReason> {
    let topic_operations = if request.include_topic_authorized_operations {
        TOPIC_OPERATIONS_ALL
    } else {
        OPERATIONS_NOT_ASKED
    };
    let asks_for_all = |topics: &Vec<_>| context.version == 0 && topics.is_empty();
    let mut topics = match request.topics.filter(|topics| !asks_for_all(topics)) {
        None => context.broker().streams().iter().map(|found| describe(&context, found)).collect(),
        Some(topics) => {
            look_up(&context, each_once(topics), request.allow_auto_topic_creation).await
        }
    };
    for topic in &mut topics {
        topic.topic_authorized_operations = topic_operations;
    }
    let options = context.broker().options();
    let address = advertised_address(&context);
    Ok(MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: options.node_id,
            host: address.host,
            port: i32::from(address.port),
            rack: None,
        }],
        cluster_id: Some(options.cluster_id.clone()),
        controller_id: options.node_id,
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS_ALL
        } else {
            OPERATIONS_NOT_ASKED
        },
        ..Default::default()
    })
}

/// Where this client is told to connect; a client that never does is named in the log.
pub(crate) fn advertised_address(context: &RequestContext) -> HostPort {
    let Ends { peer, local } = context.connection.ends;
    let address = context.service.advertised().address_for(peer, local);
    let now = context.broker().clock().moment();
    if context.service.bootstraps().asked(peer.ip(), now) {
        warn!(
            %peer,
            advertised = %address,
            "client asks for metadata but never connects to the address that it is told; \
             if it cannot reach that address, set --kafka-advertised"
        );
    }
    address
}

/// The topics asked for, without what repeats one; names are nothing beside ids.
fn each_once(mut topics: Vec<MetadataRequestTopic>) -> Vec<MetadataRequestTopic> {
    if topics.iter().any(|topic| topic.topic_id != Uuid::ZERO) {
        topics.retain(|topic| topic.topic_id != Uuid::ZERO);
        for topic in &mut topics {
            topic.name = None;
        }
    }
    let mut seen = HashSet::with_capacity(topics.len());
    topics.retain(|topic| seen.insert((topic.name.clone(), topic.topic_id)));
    topics
}

/// The topics asked for, made where they are missing and may be made.
async fn look_up(
    context: &RequestContext,
    asked: Vec<MetadataRequestTopic>,
    may_create: bool,
) -> Vec<MetadataResponseTopic> {
    let broker = context.broker();
    let settings = broker.settings().topics;
    let mut missing = BTreeMap::new();
    if may_create && settings.auto_create == AutoCreate::On {
        for name in asked.iter().filter_map(|topic| topic.name.as_deref()) {
            if let Ok(legal) = StreamName::new(name)
                && broker.stream(name).is_none()
            {
                missing.insert(name.to_owned(), legal);
            }
        }
    }
    // More than that are answered as unknown, as in Kafka when it does not make them.
    let new_records = missing.len() as u64 * (1 + u64::from(settings.partitions));
    if new_records > RECORDS_PER_REQUEST_MAX {
        let (peer, topics) = (context.connection.ends.peer, missing.len());
        warn!(%peer, topics, "not creating so many topics for one request");
        missing.clear();
    }
    let refusals = create_missing(context, missing).await;
    let describe_asked = |topic: MetadataRequestTopic| {
        let reference = match (&topic.name, topic.topic_id) {
            (_, id) if id != Uuid::ZERO && context.version < ASKS_BY_ID_FROM => {
                return refused(context, ErrorCode::INVALID_REQUEST, Some(String::new()), id);
            }
            (Some(name), _) => TopicRef::Name(name),
            (None, id) => TopicRef::Id(id),
        };
        match reference.resolve(broker) {
            Ok(stream) => describe(context, &stream),
            Err(unknown) => {
                let name = topic.name.unwrap_or_default();
                let code = match StreamName::new(&name) {
                    _ if unknown == ErrorCode::UNKNOWN_TOPIC_ID => {
                        return refused(context, unknown, None, topic.topic_id);
                    }
                    Err(_) => ErrorCode::INVALID_TOPIC_EXCEPTION,
                    Ok(_) => refusals.get(&name).copied().unwrap_or(unknown),
                };
                refused(context, code, Some(name), Uuid::ZERO)
            }
        }
    };
    asked.into_iter().map(describe_asked).collect()
}

/// Makes topics with the default number of partitions; returns the codes of those that were not.
async fn create_missing(
    context: &RequestContext,
    missing: BTreeMap<String, StreamName>,
) -> BTreeMap<String, ErrorCode> {
    let mut refusals = BTreeMap::new();
    if missing.is_empty() {
        return refusals;
    }
    let new_stream = |name: &StreamName| NewStream {
        name: name.clone(),
        routing: Routing::ByPartition,
        partitions: context.broker().settings().topics.partitions,
        overrides: BTreeMap::new(),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    // In all versions, as in Kafka, which asks its controller by the newest CreateTopics; nor does
    // the answer say anything of a pause there.
    let quota = context.mutation_quota(0);
    let new = missing.values().map(new_stream).collect();
    let results = context.broker().create_streams_within(&quota, new).await;
    for (name, result) in missing.into_keys().zip(results) {
        match result {
            Ok(_) => {
                debug!(topic = name, peer = %context.connection.ends.peer, "created on first use")
            }
            // Somebody else was faster, which is as good; or the broker will make it when it needs
            // it, and until then it is unknown. So it is while the client's quota does not reach:
            // it asks again.
            Err(
                CreateStreamError::AlreadyExists
                | CreateStreamError::Internal
                | CreateStreamError::OverQuota,
            ) => {}
            Err(error) => {
                let code = create_refusal(&name, &error).code;
                refusals.insert(name, code);
            }
        }
    }
    refusals
}

fn describe(context: &RequestContext, stream: &Arc<Stream>) -> MetadataResponseTopic {
    let broker = context.broker();
    let node_id = broker.options().node_id;
    let leader_epoch = broker.log().epoch().as_i32();
    let partitions = stream.partitions();
    let describe_partition = |index: i32| MetadataResponsePartition {
        partition_index: index,
        leader_id: node_id,
        leader_epoch,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        ..Default::default()
    };
    MetadataResponseTopic {
        error_code: 0,
        name: Some(stream.name.to_string()),
        topic_id: topic_id(stream),
        is_internal: stream.name.is_internal(),
        partitions: partitions.iter().map(|p| describe_partition(p.id.index.as_i32())).collect(),
        topic_authorized_operations: OPERATIONS_NOT_ASKED,
    }
}

fn refused(
    context: &RequestContext,
    code: ErrorCode,
    name: Option<String>,
    topic_id: Uuid,
) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: context.answer_code(code),
        is_internal: name
            .as_deref()
            .is_some_and(|name| StreamName::new(name).is_ok_and(|name| name.is_internal())),
        name,
        topic_id,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operation_masks_hold_kafkas_codes() {
        let mask = |codes: &[i32]| codes.iter().map(|code| 1 << code).sum::<i32>();
        assert_eq!(TOPIC_OPERATIONS_ALL, mask(&[3, 4, 5, 6, 7, 8, 10, 11]));
        assert_eq!(CLUSTER_OPERATIONS_ALL, mask(&[5, 7, 8, 9, 10, 11, 12]));
    }
}
