//! Registered consumers: names under which readers have a stream to themselves (enhanced fan-out).
//!
//! A consumer is a name, a moment and its labels; it holds no position, which its readers keep. It
//! goes with its stream.

use std::collections::BTreeMap;

use weir_model::ids::StreamId;
use weir_model::time::Timestamp;

use crate::broker::Broker;
use crate::error::{AmendError, RegistrationRefusal, UnknownConsumer};
use crate::stream::amend::Draft;
use crate::stream::labels::Labels;
use crate::stream::mode::StreamMode;
use crate::stream::state::{Passing, State};
use crate::stream::tags::Tags;

/// Most consumers of a stream.
pub const CONSUMERS_MAX: usize = 20;
/// Most consumers of an on-demand stream whose account is committed to a minimum throughput.
pub const CONSUMERS_COMMITTED_MAX: usize = 50;

/// Most consumers of a stream that are being registered at a time.
pub const CREATING_MAX: usize = 5;

/// A registered consumer.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// Its name, its own within the stream.
    pub name: String,
    /// When it was registered. With the name it says which consumer is meant: another one may get
    /// the name later.
    pub created: Timestamp,
    /// Its tags and its policy.
    pub labels: Labels,
    /// The state that it is passing through, or has passed.
    pub passing: Option<Passing>,
}

impl Consumer {
    /// The state that it is in.
    pub fn state(&self, now: Timestamp) -> State {
        Passing::state_at(self.passing, now)
    }

    /// Says that this consumer is meant, and none of an earlier or later time.
    pub fn id(&self) -> ConsumerId {
        ConsumerId { name: self.name.clone(), created_s: Some(self.created.as_seconds()) }
    }
}

/// Says which consumer of a stream is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerId {
    /// Its name.
    pub name: String,
    /// The second in which it was registered; none: whoever has the name.
    pub created_s: Option<i64>,
}

/// The consumers of one stream, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consumers(BTreeMap<String, Consumer>);

impl Consumers {
    /// The consumer that is meant.
    pub fn find(&self, id: &ConsumerId) -> Option<&Consumer> {
        let consumer = self.0.get(&id.name)?;
        let is_meant = id.created_s.is_none_or(|second| consumer.created.as_seconds() == second);
        is_meant.then_some(consumer)
    }

    pub(super) fn find_mut(&mut self, id: &ConsumerId) -> Option<&mut Consumer> {
        self.find(id)?;
        self.0.get_mut(&id.name)
    }

    /// All of them, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &Consumer> {
        self.0.values()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn of_row(consumers: impl Iterator<Item = Consumer>) -> Consumers {
        Consumers(consumers.map(|consumer| (consumer.name.clone(), consumer)).collect())
    }

    pub(super) fn remove(&mut self, id: &ConsumerId) {
        if self.find(id).is_some() {
            self.0.remove(&id.name);
        }
    }

    fn in_state(&self, state: State, now: Timestamp) -> usize {
        self.iter().filter(|consumer| consumer.state(now) == state).count()
    }

    fn add(&mut self, consumer: Consumer, max: usize) -> Result<(), RegistrationRefusal> {
        if self.0.contains_key(&consumer.name) {
            return Err(RegistrationRefusal::AlreadyExists);
        }
        if self.count() >= max {
            return Err(RegistrationRefusal::TooMany { max });
        }
        self.0.insert(consumer.name.clone(), consumer);
        Ok(())
    }
}

impl Broker {
    /// Registers a consumer.
    pub async fn register_consumer(
        &self,
        stream: StreamId,
        name: String,
        tags: Tags,
    ) -> Result<Consumer, AmendError<RegistrationRefusal>> {
        let (committed, creating) = (self.is_committed(), self.passing(State::Creating));
        let amended = self.registry().amend(stream, move |draft| {
            let max = match draft.present.mode {
                StreamMode::OnDemand if committed => CONSUMERS_COMMITTED_MAX,
                StreamMode::OnDemand | StreamMode::Provisioned => CONSUMERS_MAX,
            };
            if draft.attributes.consumers.in_state(State::Creating, draft.now) >= CREATING_MAX {
                return Err(RegistrationRefusal::TooManyCreating { max: CREATING_MAX });
            }
            let labels = Labels { tags, policy: None };
            let consumer = Consumer { name, created: draft.now, labels, passing: creating };
            draft.attributes.consumers.add(consumer.clone(), max)?;
            Ok(consumer)
        });
        amended.await
    }

    /// Takes a consumer's registration back.
    pub async fn deregister_consumer(
        &self,
        stream: StreamId,
        consumer: ConsumerId,
    ) -> Result<(), AmendError<UnknownConsumer>> {
        let deleting = self.passing(State::Deleting);
        let amended = self.registry().amend(stream, move |draft: &mut Draft| {
            let consumers = &mut draft.attributes.consumers;
            let found = consumers.find_mut(&consumer).ok_or(UnknownConsumer)?;
            match (deleting, found.passing) {
                // It goes already.
                (_, Some(Passing { state: State::Deleting, .. })) => {}
                (None, _) => consumers.remove(&consumer),
                (Some(_), _) => found.passing = deleting,
            }
            Ok(())
        });
        amended.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_found_by_its_name_and_the_second_of_its_registration() {
        let mut consumers = Consumers::default();
        let created = Timestamp::from_millis(5_999);
        let labels = Labels::default();
        let consumer = Consumer { name: "c".to_owned(), created, labels, passing: None };
        assert_eq!(consumers.add(consumer.clone(), 1), Ok(()));
        assert_eq!(consumers.add(consumer.clone(), 1), Err(RegistrationRefusal::AlreadyExists));
        let other = Consumer { name: "d".to_owned(), ..consumer };
        assert_eq!(consumers.add(other, 1), Err(RegistrationRefusal::TooMany { max: 1 }));
        for (name, created_s, found) in
            [("c", None, true), ("c", Some(5), true), ("c", Some(6), false), ("d", None, false)]
        {
            let id = ConsumerId { name: name.to_owned(), created_s };
            assert_eq!(consumers.find(&id).is_some(), found, "{id:?}");
            assert_eq!(consumers.find_mut(&id).is_some(), found, "{id:?}");
        }
    }
}
