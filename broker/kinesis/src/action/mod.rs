//! The operations: one file each, which opens with its contract.
//!
//! An [`Action`] is a row of the dispatch table: the operation's name, its members' shapes, and
//! what it does. By the time it runs, the members have their types and satisfy their constraints.
//! It calls the core once and writes its reply. A new operation is one file here and one line in
//! [`ACTIONS`].

mod add_tags_to_stream;
mod create_stream;
mod decrease_stream_retention_period;
mod delete_resource_policy;
mod delete_stream;
mod deregister_stream_consumer;
mod describe_account_settings;
mod describe_limits;
mod describe_stream;
mod describe_stream_consumer;
mod describe_stream_summary;
mod disable_enhanced_monitoring;
mod enable_enhanced_monitoring;
mod get_records;
mod get_resource_policy;
mod get_shard_iterator;
mod increase_stream_retention_period;
mod list_shards;
mod list_stream_consumers;
mod list_streams;
mod list_tags_for_resource;
mod list_tags_for_stream;
mod merge_shards;
mod put_record;
mod put_records;
mod put_resource_policy;
mod register_stream_consumer;
mod remove_tags_from_stream;
mod split_shard;
mod start_stream_encryption;
mod stop_stream_encryption;
mod subscribe_to_shard;
mod tag_resource;
mod untag_resource;
mod update_account_settings;
mod update_max_record_size;
mod update_shard_count;
mod update_stream_mode;
mod update_stream_record_distribution_strategy;
mod update_stream_warm_throughput;

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use weir_core::broker::Broker;
use weir_core::metrics::RequestMetrics;
use weir_model::time::Timestamp;

use crate::auth::keys::Identity;
use crate::call_rates::CallRate;
use crate::caller::Caller;
use crate::errors::KinesisError;
use crate::input::Input;
use crate::service::KinesisService;
use crate::shape::Member;
use crate::subscription::Subscription;
use crate::wire::{Encoding, ReplyWriter};

/// Every operation that is served. The model's other operations answer as unknown ones do.
pub(crate) static ACTIONS: &[&Action] = &[
    &add_tags_to_stream::ACTION,
    &create_stream::ACTION,
    &decrease_stream_retention_period::ACTION,
    &delete_resource_policy::ACTION,
    &delete_stream::ACTION,
    &deregister_stream_consumer::ACTION,
    &describe_account_settings::ACTION,
    &describe_limits::ACTION,
    &describe_stream::ACTION,
    &describe_stream_consumer::ACTION,
    &describe_stream_summary::ACTION,
    &disable_enhanced_monitoring::ACTION,
    &enable_enhanced_monitoring::ACTION,
    &get_records::ACTION,
    &get_resource_policy::ACTION,
    &get_shard_iterator::ACTION,
    &increase_stream_retention_period::ACTION,
    &list_shards::ACTION,
    &list_stream_consumers::ACTION,
    &list_streams::ACTION,
    &list_tags_for_resource::ACTION,
    &list_tags_for_stream::ACTION,
    &merge_shards::ACTION,
    &put_record::ACTION,
    &put_records::ACTION,
    &put_resource_policy::ACTION,
    &register_stream_consumer::ACTION,
    &remove_tags_from_stream::ACTION,
    &split_shard::ACTION,
    &start_stream_encryption::ACTION,
    &stop_stream_encryption::ACTION,
    &subscribe_to_shard::ACTION,
    &tag_resource::ACTION,
    &untag_resource::ACTION,
    &update_account_settings::ACTION,
    &update_max_record_size::ACTION,
    &update_shard_count::ACTION,
    &update_stream_mode::ACTION,
    &update_stream_record_distribution_strategy::ACTION,
    &update_stream_warm_throughput::ACTION,
];

/// One operation.
pub(crate) struct Action {
    /// Its name, as in `X-Amz-Target: Kinesis_20131202.<name>`.
    pub(crate) name: &'static str,
    /// What its input is made of.
    pub(crate) members: &'static [Member],
    /// How often it may be called.
    pub(crate) rate: CallRate,
    /// What it does.
    pub(crate) run: Run,
}

/// An operation's work.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// It ends in one body in the call's encoding, empty for operations that answer nothing (AWS
    /// sends no bytes then, not `{}`).
    Reply(for<'c> fn(&'c Call<'c>) -> Work<'c, Bytes>),
    /// It ends in a stream of events.
    Events(for<'c> fn(&'c Call<'c>) -> Work<'c, Subscription>),
}

/// Work under way.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, KinesisError>> + Send + 'c>>;

/// A request that has passed all checks.
pub(crate) struct Call<'c> {
    pub(crate) service: &'c Arc<KinesisService>,
    /// The members.
    pub(crate) input: Input<'c>,
    /// The body that the members may be slices of.
    pub(crate) body: &'c Bytes,
    /// The encoding of the body and of the reply.
    pub(crate) encoding: Encoding,
    /// The region that the request was signed for, for ARNs.
    pub(crate) region: &'c str,
    /// Whose key the request was signed with, where that was verified.
    pub(crate) identity: Option<Identity<'c>>,
    /// Who asks.
    pub(crate) caller: &'c Arc<Caller>,
    /// What this operation counts.
    pub(crate) metrics: &'c RequestMetrics,
}

impl Call<'_> {
    pub(crate) fn broker(&self) -> &Broker {
        self.service.broker()
    }

    pub(crate) fn account(&self) -> &str {
        &self.broker().options().account_id
    }

    pub(crate) fn token_key(&self) -> &[u8; 32] {
        self.broker().sealing_key()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.broker().clock().now()
    }

    pub(crate) fn writer(&self) -> ReplyWriter {
        ReplyWriter::new(self.encoding)
    }
}
