//! The states that AWS shows of streams and consumers while it works on them.
//!
//! weir's changes are one step and hold at once. Where `weir.stream.state.delay.ms` is above zero,
//! a stream or consumer is nevertheless shown as CREATING, UPDATING or DELETING for so long, and
//! refuses what AWS's refuses meanwhile. Which state it is in follows from its row and the clock;
//! only the end of a deletion has to be carried out, by [`housekeeping`](crate::housekeeping).
//! Kafka's clients see nothing of it: to them a topic is there until it is gone.

use std::sync::Arc;

use tracing::warn;
use weir_model::ids::StreamId;
use weir_model::time::Timestamp;

use crate::broker::Broker;
use crate::error::{AmendError, DeleteStreamError, UnknownConsumer};
use crate::settings::broker_settings::TopicSettings;
use crate::stream::consumers::ConsumerId;
use crate::stream::registry::{Deletion, Registry};
use crate::stream::stream::Stream;

/// The state of a stream or of a consumer, which is never UPDATING.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// On its way; nobody can use it yet.
    Creating,
    /// In use.
    Active,
    /// In use, and not to be changed.
    Updating,
    /// On its way out; nobody can use it any more.
    Deleting,
}

impl State {
    /// AWS's name.
    pub const fn name(self) -> &'static str {
        match self {
            State::Creating => "CREATING",
            State::Active => "ACTIVE",
            State::Updating => "UPDATING",
            State::Deleting => "DELETING",
        }
    }

    /// Whether records are written and read.
    pub fn is_in_use(self) -> bool {
        matches!(self, State::Active | State::Updating)
    }
}

/// A state that passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// The state.
    pub state: State,
    /// When it is over.
    pub until: Timestamp,
}

impl Passing {
    /// The state at a time. A deletion that is due is not over before it is carried out.
    pub fn state_at(passing: Option<Passing>, now: Timestamp) -> State {
        match passing {
            Some(passing) if passing.state == State::Deleting || now < passing.until => {
                passing.state
            }
            _ => State::Active,
        }
    }
}

impl TopicSettings {
    /// The state that a change beginning now passes through; none where states do not last.
    pub(crate) fn passing(&self, state: State, now: Timestamp) -> Option<Passing> {
        let until = now.plus_millis(self.state_delay_ms);
        (self.state_delay_ms > 0).then_some(Passing { state, until })
    }
}

impl Stream {
    /// The state that it is in.
    pub fn state(&self, now: Timestamp) -> State {
        Passing::state_at(self.attributes().passing, now)
    }

    fn is_deletion_due(&self, now: Timestamp) -> bool {
        is_deletion_due(self.attributes().passing, now)
    }
}

fn is_deletion_due(passing: Option<Passing>, now: Timestamp) -> bool {
    passing.is_some_and(|passing| passing.state == State::Deleting && passing.until <= now)
}

impl Broker {
    /// The state that a change beginning now passes through; none where states do not last.
    pub fn passing(&self, state: State) -> Option<Passing> {
        self.settings().topics.passing(state, self.clock().now())
    }

    /// Deletes a stream as its owner asks for it: at once, or after it was DELETING for a while.
    pub async fn retire_stream(
        &self,
        id: StreamId,
        deletion: Deletion,
    ) -> Result<(), DeleteStreamError> {
        let Some(deleting) = self.passing(State::Deleting) else {
            return self.delete_stream(id, deletion).await;
        };
        let marked = self.registry().amend_where(
            id,
            |_| true,
            move |draft| {
                if draft.state == State::Deleting {
                    return Err(DeleteStreamError::AlreadyDeleting);
                }
                if deletion == Deletion::Unconsumed && draft.attributes.consumers.count() > 0 {
                    return Err(DeleteStreamError::HasConsumers);
                }
                draft.attributes.passing = Some(deleting);
                Ok(())
            },
        );
        marked.await.map_err(|error| match error {
            AmendError::Unknown | AmendError::NotActive(_) => DeleteStreamError::Unknown,
            AmendError::Refused(refusal) => refusal,
            AmendError::Meta(error) => DeleteStreamError::Meta(error),
        })
    }
}

impl Registry {
    /// The streams whose deletion is due.
    pub(crate) fn due_deletions(&self) -> Vec<StreamId> {
        let now = self.now();
        let all = self.all();
        all.iter().filter(|stream| stream.is_deletion_due(now)).map(|stream| stream.id).collect()
    }

    /// Takes the registrations away whose end is due. What fails is tried again the next time.
    pub(crate) async fn end_deregistrations(self: &Arc<Registry>) {
        let now = self.now();
        for stream in self.all() {
            let due: Vec<ConsumerId> = stream
                .attributes()
                .consumers
                .iter()
                .filter(|consumer| is_deletion_due(consumer.passing, now))
                .map(|consumer| consumer.id())
                .collect();
            if due.is_empty() {
                continue;
            }
            let ended = self.amend_where(
                stream.id,
                |_| true,
                move |draft| {
                    due.iter().for_each(|id| draft.attributes.consumers.remove(id));
                    Ok::<_, UnknownConsumer>(())
                },
            );
            if let Err(error) = ended.await {
                warn!(stream = %stream.name, ?error, "deregistered consumers stay, tried again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_until_its_time_and_a_deletion_until_it_is_carried_out() {
        let until = Timestamp::from_millis(10);
        let at = |state, now| {
            Passing::state_at(Some(Passing { state, until }), Timestamp::from_millis(now))
        };
        assert_eq!(at(State::Creating, 9), State::Creating);
        assert_eq!(at(State::Creating, 10), State::Active);
        assert_eq!(at(State::Updating, 9), State::Updating);
        assert_eq!(at(State::Deleting, 11), State::Deleting);
        assert_eq!(Passing::state_at(None, until), State::Active);
    }
}
