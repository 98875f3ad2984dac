//! The partitions of one fetch session: what the consumer wants of each, what it was told last, and
//! whose turn it is.
//!
//! A limited answer is filled in the order of the partitions, so one that gave records goes to the
//! end of the line: a busy partition never starves those behind it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use weir_core::broker::Broker;
use weir_core::stream::stream::Stream;
use weir_kafka_protocol::messages::fetch::{
    FetchPartition as WantedPartition, FetchTopic, ForgottenTopic, PartitionData,
};
use weir_kafka_protocol::{ErrorCode, RecordSet, Uuid};
use weir_model::ids::StreamName;

use crate::topic::TopicRef;

/// First version that names topics by id.
const TOPIC_IDS_FROM: i16 = 13;

/// How the requests of a session name their topics; a session keeps to one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicNaming {
    /// By name.
    ByName,
    /// By id.
    ById,
}

impl TopicNaming {
    /// The way of a version.
    pub(crate) fn in_version(version: i16) -> TopicNaming {
        if version >= TOPIC_IDS_FROM { TopicNaming::ById } else { TopicNaming::ByName }
    }

    fn key(self, name: String, id: Uuid) -> TopicKey {
        match self {
            TopicNaming::ByName => TopicKey::Name(name.into()),
            TopicNaming::ById => TopicKey::Id(id),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

/// A topic as a fetch names it. Whether there is one is found out at each fetch anew.
#[derive(Debug)]
pub(crate) struct FetchedTopic {
    key: TopicKey,
    /// The name of a topic that is asked for by id, from when it was found first.
    name: OnceLock<StreamName>,
}

impl FetchedTopic {
    /// The topic, or the code that says why there is none. An id that was once good is told apart
    /// from one that never was, as in Kafka, where a session resolves an id but once.
    pub(crate) fn resolve(&self, broker: &Broker) -> Result<Arc<Stream>, ErrorCode> {
        let id = match &self.key {
            TopicKey::Name(name) => return TopicRef::Name(name).resolve(broker),
            TopicKey::Id(id) => *id,
        };
        match (TopicRef::Id(id).resolve(broker), self.name.get()) {
            (Ok(stream), _) => {
                self.name.get_or_init(|| stream.name.clone());
                Ok(stream)
            }
            (Err(unknown), None) => Err(unknown),
            (Err(_), Some(name)) => Err(match broker.stream(name.as_str()) {
                Some(_) => ErrorCode::INCONSISTENT_TOPIC_ID,
                None => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            }),
        }
    }

    /// Its name for the response, empty if it goes by id.
    pub(crate) fn response_name(&self) -> String {
        match &self.key {
            TopicKey::Name(name) => name.to_string(),
            TopicKey::Id(_) => String::new(),
        }
    }

    /// Its id for the response, zero if it goes by name.
    pub(crate) fn response_id(&self) -> Uuid {
        match self.key {
            TopicKey::Name(_) => Uuid::ZERO,
            TopicKey::Id(id) => id,
        }
    }
}

/// One partition that is fetched.
#[derive(Debug)]
pub(crate) struct TrackedPartition {
    /// Its topic, shared by those of the same topic.
    pub(crate) topic: Arc<FetchedTopic>,
    /// What the consumer wants of it.
    pub(crate) wanted: WantedPartition,
    /// The watermarks that it was told last; -1 before, and after an error.
    told_high_watermark: i64,
    told_log_start: i64,
}

impl TrackedPartition {
    fn new(topic: &Arc<FetchedTopic>, wanted: WantedPartition) -> TrackedPartition {
        let topic = Arc::clone(topic);
        TrackedPartition { topic, wanted, told_high_watermark: -1, told_log_start: -1 }
    }

    /// Remembers what the consumer is told now. False if that says nothing new, so that it can be
    /// left out of an answer.
    pub(crate) fn tell(&mut self, data: &PartitionData) -> bool {
        let has_failed = data.error_code != ErrorCode::NONE.0;
        let is_news = has_failed
            || data.records.as_ref().is_some_and(|records: &RecordSet| !records.is_empty())
            || data.diverging_epoch.epoch >= 0
            || data.high_watermark != self.told_high_watermark
            || data.log_start_offset != self.told_log_start;
        // After an error that passed the consumer must be told that it did.
        self.told_high_watermark = if has_failed { -1 } else { data.high_watermark };
        self.told_log_start = data.log_start_offset;
        is_news
    }
}

/// The partitions of a request, in its order.
pub(crate) fn partitions_of(topics: Vec<FetchTopic>, naming: TopicNaming) -> Vec<TrackedPartition> {
    let mut partitions = Vec::with_capacity(topics.iter().map(|t| t.partitions.len()).sum());
    for FetchTopic { topic, topic_id, partitions: wanted } in topics {
        let key = naming.key(topic, topic_id);
        let topic = Arc::new(FetchedTopic { key, name: OnceLock::new() });
        partitions.extend(wanted.into_iter().map(|wanted| TrackedPartition::new(&topic, wanted)));
    }
    partitions
}

/// What became of a partition's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It gave nothing and keeps its place.
    Kept,
    /// It gave records and goes to the end of the line.
    Used,
}

/// Partitions in the order of their turns, found by topic and number.
#[derive(Debug, Default)]
pub(crate) struct TrackedPartitions {
    in_turn: BTreeMap<u64, TrackedPartition>,
    topics: HashMap<TopicKey, TrackedTopic>,
    next_turn: u64,
}

#[derive(Debug)]
struct TrackedTopic {
    topic: Arc<FetchedTopic>,
    /// By partition number; never empty.
    turns: HashMap<i32, u64>,
}

impl TrackedPartitions {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.in_turn.len()
    }

    /// The partitions, the one whose turn it is first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &TrackedPartition> {
        self.in_turn.values()
    }

    /// Serves the partitions, the one whose turn it is first.
    pub(crate) fn serve(&mut self, mut serve: impl FnMut(&mut TrackedPartition) -> Turn) {
        let mut used = Vec::new();
        for (turn, partition) in &mut self.in_turn {
            if serve(partition) == Turn::Used {
                used.push(*turn);
            }
        }
        for turn in used {
            if let Some(partition) = self.in_turn.remove(&turn) {
                self.append(partition);
            }
        }
    }

    /// Adds the partition at the end of the line; of one that is there already only what is wanted
    /// of it changes.
    pub(crate) fn insert(&mut self, partition: TrackedPartition) {
        let known = self.topics.get(&partition.topic.key);
        let turn = known.and_then(|topic| topic.turns.get(&partition.wanted.partition));
        match turn.and_then(|turn| self.in_turn.get_mut(turn)) {
            Some(known) => known.wanted = partition.wanted,
            None => self.append(partition),
        }
    }

    fn append(&mut self, mut partition: TrackedPartition) {
        let turn = self.next_turn;
        self.next_turn += 1;
        let fresh = || TrackedTopic { topic: Arc::clone(&partition.topic), turns: HashMap::new() };
        let known = self.topics.entry(partition.topic.key.clone()).or_insert_with(fresh);
        known.turns.insert(partition.wanted.partition, turn);
        partition.topic = Arc::clone(&known.topic);
        self.in_turn.insert(turn, partition);
    }

    /// Removes partitions; those that are not there do not matter.
    pub(crate) fn forget(&mut self, topics: Vec<ForgottenTopic>, naming: TopicNaming) {
        for ForgottenTopic { topic, topic_id, partitions } in topics {
            let key = naming.key(topic, topic_id);
            let Some(known) = self.topics.get_mut(&key) else { continue };
            for partition in partitions {
                if let Some(turn) = known.turns.remove(&partition) {
                    self.in_turn.remove(&turn);
                }
            }
            if known.turns.is_empty() {
                self.topics.remove(&key);
            }
        }
    }
}

impl FromIterator<TrackedPartition> for TrackedPartitions {
    fn from_iter<T: IntoIterator<Item = TrackedPartition>>(partitions: T) -> TrackedPartitions {
        let mut tracked = TrackedPartitions::default();
        for partition in partitions {
            tracked.insert(partition);
        }
        tracked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: &[i32]) -> FetchTopic {
        let wanted =
            |partition: &i32| WantedPartition { partition: *partition, ..Default::default() };
        FetchTopic {
            topic: name.to_owned(),
            partitions: partitions.iter().map(wanted).collect(),
            ..Default::default()
        }
    }

    fn tracked(topics: Vec<FetchTopic>) -> TrackedPartitions {
        partitions_of(topics, TopicNaming::ByName).into_iter().collect()
    }

    fn order(partitions: &TrackedPartitions) -> Vec<(String, i32)> {
        partitions.iter().map(|p| (p.topic.response_name(), p.wanted.partition)).collect()
    }

    #[test]
    fn a_partition_that_gave_records_goes_to_the_end_of_the_line() {
        let mut partitions = tracked(vec![topic("a", &[0, 1]), topic("b", &[0])]);
        partitions.serve(|partition| match partition.wanted.partition {
            0 => Turn::Used,
            _ => Turn::Kept,
        });
        let names = order(&partitions);
        assert_eq!(names, [("a".to_owned(), 1), ("a".to_owned(), 0), ("b".to_owned(), 0)]);
    }

    #[test]
    fn a_partition_named_again_keeps_its_place_and_takes_the_new_wish() {
        let mut partitions = tracked(vec![topic("a", &[0, 1])]);
        let mut again = topic("a", &[0, 2]);
        again.partitions[0].fetch_offset = 7;
        for partition in partitions_of(vec![again], TopicNaming::ByName) {
            partitions.insert(partition);
        }
        let wishes: Vec<_> =
            partitions.iter().map(|p| (p.wanted.partition, p.wanted.fetch_offset)).collect();
        assert_eq!(wishes, [(0, 7), (1, 0), (2, 0)]);
    }

    #[test]
    fn forgotten_partitions_leave_nothing_behind() {
        let mut partitions = tracked(vec![topic("a", &[0, 1]), topic("b", &[0])]);
        let forgotten = |name: &str, partitions: &[i32]| ForgottenTopic {
            topic: name.to_owned(),
            partitions: partitions.to_vec(),
            ..Default::default()
        };
        partitions.forget(
            vec![forgotten("a", &[1, 1, 9]), forgotten("b", &[0]), forgotten("c", &[0])],
            TopicNaming::ByName,
        );
        assert_eq!(order(&partitions), [("a".to_owned(), 0)]);
        assert_eq!((partitions.len(), partitions.topics.len()), (1, 1));
    }

    #[test]
    fn what_a_consumer_was_told_already_is_no_news() {
        let mut partition = partitions_of(vec![topic("a", &[0])], TopicNaming::ByName).remove(0);
        let at = |high_watermark, log_start_offset| PartitionData {
            high_watermark,
            log_start_offset,
            ..Default::default()
        };
        let failed = PartitionData { error_code: 1, ..at(-1, -1) };
        let records = Some(RecordSet::External { index: 0, length: 1 });
        let with_records = PartitionData { records, ..at(6, 1) };
        for (data, is_news, why) in [
            (at(5, 0), true, "never told anything"),
            (at(5, 0), false, "the same"),
            (at(6, 0), true, "the high watermark moved"),
            (at(6, 1), true, "the log start moved"),
            (failed.clone(), true, "an error"),
            (failed, true, "an error that stays"),
            (at(6, 1), true, "the error passed"),
            (with_records, true, "records"),
            (at(6, 1), false, "the records were told of"),
        ] {
            assert_eq!(partition.tell(&data), is_news, "{why}");
        }
    }
}
