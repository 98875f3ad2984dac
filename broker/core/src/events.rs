//! What happens, told to whoever listens.
//!
//! ```text
//!   registry, groups, quotas ── EventHub ──┬── the last 1,000, for who comes late
//!                                          └── a ring of 4,096 ──> Listener, Listener …
//!   flushes, sampled by the log ──────────────────────────────────────────┘
//! ```
//!
//! A listener has no queue of its own: all read one ring, and one that is too slow is told how many
//! events it has missed. What happens often (throttles, flushes) is told only while somebody
//! listens, at most once for a partition and second, and is not remembered; asking whether anybody
//! does is one look at a number. The broker's own streams are not told of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use weir_model::ids::{PartitionIndex, StreamName};
use weir_model::time::{Clock, Timestamp};
use weir_storage::log::{Flushed, Recovered};

use crate::broker::Broker;
use crate::partition::partition::Partition;
use crate::routing::reshard::Reshard;
use crate::stream::layout::Layout;
use crate::stream::stream::Stream;

/// Events that one who comes late is told.
const PAST_MAX: usize = 1_000;
/// Events that a listener may lie behind before it misses some.
const RING_EVENTS: usize = 4_096;
/// How often a partition's throttles are told, at most.
const THROTTLE_PERIOD: Duration = Duration::from_secs(1);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// The stream that it happened to, if it was one.
    pub stream: Option<StreamName>,
    /// The partition that it happened to, if it was one.
    pub partition: Option<PartitionIndex>,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A stream was made.
    Created {
        /// Partitions that it begins with.
        partitions: usize,
    },
    /// A stream was removed.
    Deleted,
    /// A stream has other partitions.
    PartitionsChanged {
        /// How they came about.
        change: PartitionsChange,
        /// Those that take no more records.
        closed: Vec<PartitionIndex>,
        /// Those that were made and take records.
        made: Vec<PartitionIndex>,
        /// Partitions that take records now.
        open_count: usize,
    },
    /// The members of a group divide its partitions anew.
    Rebalanced {
        /// The group.
        group: String,
        /// Its generation, or the epoch of a group of the newer protocol.
        generation: i32,
        /// Its members now.
        members: usize,
    },
    /// A partition's quota held something back.
    Throttled {
        /// What.
        direction: Direction,
        /// When it lets something through again.
        wait: Duration,
    },
    /// A flush of a partition ended.
    Flushed {
        /// Bytes of batches that it made last.
        bytes: u64,
        /// The time that it took.
        took: Duration,
    },
    /// The broker was started after an unclean stop, and has checked its logs.
    Recovered(Recovered),
}

/// How a stream came by other partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionsChange {
    /// One became two.
    Split,
    /// Two became one.
    Merged,
    /// They were split and merged to a number of them.
    Scaled,
    /// There are more beside those that there were.
    Added,
}

/// What a quota holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A write.
    Write,
    /// A read.
    Read,
}

/// Tells all listeners.
#[derive(Debug)]
pub(crate) struct EventHub {
    clock: Arc<dyn Clock>,
    live: broadcast::Sender<Arc<Event>>,
    /// A sync lock: held while an event is remembered and told, so that who begins to listen gets
    /// each event once.
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    /// How this run began, however much has happened since.
    recovered: Option<Arc<Event>>,
    recent: VecDeque<Arc<Event>>,
}

impl EventHub {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> EventHub {
        let (live, _) = broadcast::channel(RING_EVENTS);
        EventHub { clock, live, past: Mutex::default() }
    }

    fn event(&self, stream: Option<&Stream>, kind: EventKind) -> Event {
        let stream = stream.map(|stream| stream.name.clone());
        Event { time: self.clock.now(), stream, partition: None, kind }
    }

    /// Tells of what happened to a stream, and remembers it.
    pub(crate) fn tell(&self, stream: &Stream, kind: EventKind) {
        if !stream.name.is_internal() {
            self.remember(self.event(Some(stream), kind));
        }
    }

    /// Tells of a group whose members divide its partitions anew.
    pub(crate) fn tell_rebalanced(&self, group: &str, generation: i32, members: usize) {
        let group = group.to_owned();
        let kind = EventKind::Rebalanced { group, generation, members };
        self.remember(self.event(None, kind));
    }

    /// Tells of the partitions that a stream has instead of those before.
    pub(crate) fn tell_partitions(
        &self,
        stream: &Stream,
        change: PartitionsChange,
        before: &Layout,
    ) {
        let now = stream.layout().current();
        let known = before.partitions.len();
        let closed = before.partitions.iter().zip(now.partitions.iter());
        let closed = closed.filter(|(was, is)| was.is_open() && !is.is_open());
        let made = now.partitions.iter().skip(known).filter(|partition| partition.is_open());
        let kind = EventKind::PartitionsChanged {
            change,
            closed: closed.map(|(partition, _)| partition.id.index).collect(),
            made: made.map(|partition| partition.id.index).collect(),
            open_count: now.open.count(),
        };
        self.tell(stream, kind);
    }

    /// Tells of a quota, if anybody listens and the partition's turn has come.
    pub(crate) fn tell_throttled(
        &self,
        stream: &Stream,
        partition: &Partition,
        direction: Direction,
        wait: Duration,
    ) {
        if self.live.receiver_count() == 0 {
            return;
        }
        if !partition.gate.may_tell(self.clock.real_moment(), THROTTLE_PERIOD) {
            return;
        }
        let event = self.event(Some(stream), EventKind::Throttled { direction, wait });
        let event = Event { partition: Some(partition.id.index), ..event };
        // Nobody hears it if the last listener has just left.
        let _heard_by = self.live.send(Arc::new(event));
    }

    /// Tells of how this run began.
    pub(crate) fn tell_recovered(&self, recovered: Recovered) {
        let event = Arc::new(self.event(None, EventKind::Recovered(recovered)));
        self.past.lock().recovered = Some(event);
    }

    fn remember(&self, event: Event) {
        let event = Arc::new(event);
        let mut past = self.past.lock();
        if past.recent.len() == PAST_MAX {
            past.recent.pop_front();
        }
        past.recent.push_back(Arc::clone(&event));
        let _heard_by = self.live.send(event);
    }

    /// What happened before, and what happens from now on.
    fn listen(&self) -> (VecDeque<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let past = self.past.lock();
        let told = past.recovered.iter().chain(&past.recent).cloned().collect();
        (told, self.live.subscribe())
    }
}

impl From<Reshard> for PartitionsChange {
    fn from(reshard: Reshard) -> PartitionsChange {
        match reshard {
            Reshard::Split { .. } => PartitionsChange::Split,
            Reshard::Merge { .. } => PartitionsChange::Merged,
            Reshard::Scale { .. } => PartitionsChange::Scaled,
        }
    }
}

/// What somebody wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// What happened before, too: how this run began, and the last 1,000 events.
    pub past: bool,
    /// Flushes too.
    pub flushes: bool,
}

/// Somebody who listens.
#[derive(Debug)]
pub struct Listener {
    broker: Arc<Broker>,
    past: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    flushes: Option<broadcast::Receiver<Flushed>>,
}

/// What a listener gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An event.
    Event(Arc<Event>),
    /// It was too slow for so many.
    Missed(u64),
}

impl Listener {
    /// Somebody who hears what happens from now on.
    pub fn new(broker: Arc<Broker>, listening: Listening) -> Listener {
        let (mut past, live) = broker.events().listen();
        if !listening.past {
            past.clear();
        }
        let flushes = listening.flushes.then(|| broker.log().flushes()).flatten();
        Listener { broker, past, live, flushes }
    }

    /// The next that is heard. May be given up and asked again without a loss.
    pub async fn next(&mut self) -> Heard {
        if let Some(event) = self.past.pop_front() {
            return Heard::Event(event);
        }
        loop {
            let Listener { broker, live, flushes, .. } = self;
            tokio::select! {
                event = live.recv() => match event {
                    Ok(event) => return Heard::Event(event),
                    Err(RecvError::Lagged(count)) => return Heard::Missed(count),
                    Err(RecvError::Closed) => unreachable!("the listener holds the broker"),
                },
                flushed = next_flush(flushes) => match flushed {
                    Ok(flushed) => {
                        if let Some(event) = event_of(broker, flushed) {
                            return Heard::Event(Arc::new(event));
                        }
                    }
                    Err(RecvError::Lagged(count)) => return Heard::Missed(count),
                    // The log has none, or is gone.
                    Err(RecvError::Closed) => self.flushes = None,
                },
            }
        }
    }
}

async fn next_flush(
    flushes: &mut Option<broadcast::Receiver<Flushed>>,
) -> Result<Flushed, RecvError> {
    match flushes {
        Some(flushes) => flushes.recv().await,
        None => std::future::pending().await,
    }
}

/// None where the stream is gone, or the broker's own.
fn event_of(broker: &Broker, flushed: Flushed) -> Option<Event> {
    let stream = broker.stream_by_id(flushed.partition.stream)?;
    let Flushed { time, bytes, took, .. } = flushed;
    (!stream.name.is_internal()).then(|| Event {
        time,
        stream: Some(stream.name.clone()),
        partition: Some(flushed.partition.index),
        kind: EventKind::Flushed { bytes, took },
    })
}

#[cfg(test)]
mod tests {
    use weir_model::time::ManualClock;

    use super::*;

    fn hub() -> EventHub {
        EventHub::new(Arc::new(ManualClock::starting_at(Timestamp::from_millis(0))))
    }

    fn generations(events: impl IntoIterator<Item = Arc<Event>>) -> Vec<i32> {
        let generation = |event: Arc<Event>| match event.kind {
            EventKind::Rebalanced { generation, .. } => generation,
            _ => -1,
        };
        events.into_iter().map(generation).collect()
    }

    #[test]
    fn who_comes_late_is_told_how_the_run_began_and_the_last_thousand() {
        let hub = hub();
        hub.tell_recovered(Recovered { epoch: 3, partitions: 1, damaged: 0, records: 9 });
        for generation in 0..1_500 {
            hub.tell_rebalanced("g", generation, 1);
        }
        let (past, _live) = hub.listen();
        let expected: Vec<i32> = [-1].into_iter().chain(500..1_500).collect();
        assert_eq!(generations(past), expected);
    }

    #[tokio::test]
    async fn what_is_told_from_then_on_is_heard_once() {
        let hub = hub();
        hub.tell_rebalanced("g", 1, 1);
        let (past, mut live) = hub.listen();
        hub.tell_rebalanced("g", 2, 1);
        let heard = live.recv().await.expect("one was told");
        assert_eq!((generations(past), generations([heard])), (vec![1], vec![2]));
        assert!(live.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_how_many_it_missed() {
        let hub = hub();
        let (_, mut live) = hub.listen();
        for generation in 0..5_000 {
            hub.tell_rebalanced("g", generation, 1);
        }
        assert_eq!(live.recv().await, Err(RecvError::Lagged(5_000 - 4_096)));
        let next = live.recv().await.expect("the oldest that is left");
        assert_eq!(generations([next]), [904]);
    }
}
