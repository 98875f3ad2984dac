//! Replicas as a cluster of one broker has them: where a partition may be put by hand.

use weir_kafka_protocol::ErrorCode;

use crate::errors::Refusal;

/// Refuses a manual assignment that is not this broker alone, in Kafka's words.
pub(crate) fn check_assignment(broker_ids: &[i32], node_id: i32) -> Result<(), Refusal> {
    let mut sorted = broker_ids.to_vec();
    sorted.sort_unstable();
    let twice = sorted.iter().zip(sorted.iter().skip(1)).find(|(id, next)| id == next);
    let text = if broker_ids.is_empty() {
        "The manual partition assignment includes an empty replica list.".to_owned()
    } else if let Some(unknown) = sorted.iter().find(|id| **id != node_id) {
        format!(
            "The manual partition assignment includes broker {unknown}, but no such broker is \
             registered."
        )
    } else if let Some((id, _)) = twice {
        format!("The manual partition assignment includes the broker {id} more than once.")
    } else {
        return Ok(());
    };
    Err(Refusal::because(ErrorCode::INVALID_REPLICA_ASSIGNMENT, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_broker_alone_may_hold_a_partition() {
        for (broker_ids, said) in [
            (&[1][..], None),
            (&[], Some("an empty replica list")),
            (&[2], Some("broker 2, but no such broker")),
            (&[1, 2], Some("broker 2, but no such broker")),
            (&[-1], Some("broker -1, but no such broker")),
            (&[1, 1], Some("the broker 1 more than once")),
        ] {
            let message = check_assignment(broker_ids, 1).err().and_then(|error| error.message);
            assert_eq!(message.is_some(), said.is_some(), "{broker_ids:?}");
            assert!(message.unwrap_or_default().contains(said.unwrap_or_default()));
        }
    }
}
