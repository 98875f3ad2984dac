//! Why a stream stays as it is.

use weir_core::error::{AlterConfigError, GrowStreamError, ReshardError};
use weir_proto::v1::error_detail::Reason;

use super::{Refusal, config_refusal, meta_refusal};

/// Why a stream was not split, merged or scaled.
pub(crate) fn reshard_refusal(error: &ReshardError) -> Refusal {
    match error {
        ReshardError::Unknown => refused(Reason::UnknownStream, "the stream is gone"),
        ReshardError::NotActive(state) => {
            refused(Reason::Busy, format!("the stream is {}", state.name()))
        }
        ReshardError::Internal => internal(),
        ReshardError::RoutedByPartition => refused(
            Reason::NotAllowed,
            "writers choose the stream's partitions, so none of them is split or merged",
        ),
        ReshardError::OnDemand => {
            refused(Reason::NotAllowed, "the stream is scaled by what is written to it")
        }
        ReshardError::UnknownPartition { partition } => {
            let why = format!("there is no partition {}", partition.as_u32());
            refused(Reason::UnknownPartition, why)
        }
        ReshardError::Closed { partition } => {
            let why = format!("partition {} was split or merged already", partition.as_u32());
            refused(Reason::PartitionClosed, why)
        }
        ReshardError::SplitKey { range } => {
            let (start, end) = (range.start(), range.end());
            let why = format!("the key must lie above {start} by two at least, and below {end}");
            refused(Reason::Invalid, why)
        }
        ReshardError::NotAdjacent => {
            refused(Reason::Invalid, "the hash keys of the two do not lie next to each other")
        }
        ReshardError::AboveDouble { open } => {
            refused(Reason::Limit, format!("more than double the {open} open partitions"))
        }
        ReshardError::BelowHalf { open } => {
            refused(Reason::Limit, format!("less than half the {open} open partitions"))
        }
        ReshardError::TooManyScalings { max } => {
            refused(Reason::Limit, format!("a stream is scaled {max} times a day at most"))
        }
        ReshardError::PartitionCount { max } => partition_count(*max),
        ReshardError::LineageFull { max } => {
            let why = format!("a stream has at most {max} partitions, closed ones included");
            refused(Reason::Limit, why)
        }
        ReshardError::PartitionLimit { used, asked, max } => partition_limit(*used, *asked, *max),
        ReshardError::LineagesFull { max } => {
            let why = format!("all streams have at most {max} partitions, closed ones included");
            refused(Reason::Limit, why)
        }
        ReshardError::Storage(error) => {
            refused(Reason::Storage, format!("the records were not flushed: {error:?}"))
        }
        ReshardError::Meta(error) => meta_refusal(error),
    }
}

/// Why a stream did not get more partitions.
pub(crate) fn grow_refusal(name: &str, error: &GrowStreamError) -> Refusal {
    match error {
        GrowStreamError::Unknown => Refusal::unknown_stream(name),
        GrowStreamError::Internal => internal(),
        GrowStreamError::RoutedByHash => {
            refused(Reason::NotAllowed, "the stream routes by hash: its partitions are split")
        }
        GrowStreamError::NotMore { now } => {
            refused(Reason::Invalid, format!("the stream has {now} partitions, and gets only more"))
        }
        GrowStreamError::PartitionCount { max } => partition_count(*max),
        GrowStreamError::PartitionLimit { used, asked, max } => {
            partition_limit(*used, *asked, *max)
        }
        GrowStreamError::OverQuota => {
            refused(Reason::Limit, "as many partitions are made as may be")
        }
        GrowStreamError::Meta(error) => meta_refusal(error),
    }
}

/// Why a stream's settings stay as they are.
pub(crate) fn alter_refusal(name: &str, error: &AlterConfigError) -> Refusal {
    match error {
        AlterConfigError::UnknownStream => Refusal::unknown_stream(name),
        AlterConfigError::Internal => internal(),
        AlterConfigError::NotAList { name, .. } => {
            Refusal::invalid(format!("{name} is no list of words"))
        }
        AlterConfigError::ReadAtStart { names } => {
            Refusal::invalid(format!("read at start only: {}", names.join(", ")))
        }
        AlterConfigError::TooMany { max } => {
            refused(Reason::Limit, format!("at most {max} names have settings"))
        }
        AlterConfigError::Config(error) => config_refusal(error),
        AlterConfigError::Meta(error) => meta_refusal(error),
    }
}

fn refused(reason: Reason, why: impl Into<String>) -> Refusal {
    Refusal::new(reason, why)
}

fn internal() -> Refusal {
    refused(Reason::Invalid, "the stream holds the broker's state")
}

fn partition_count(max: u32) -> Refusal {
    refused(Reason::Invalid, format!("a stream has 1 to {max} partitions that take records"))
}

fn partition_limit(used: u64, asked: u32, max: u32) -> Refusal {
    let why = format!("{used} of {max} partitions are there, and {asked} more were asked for");
    refused(Reason::Limit, why)
}
