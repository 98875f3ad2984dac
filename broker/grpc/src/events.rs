//! `weir.v1.Events`: what happens, sent as it happens.
//!
//! The next event is fetched when HTTP/2 asks for it. A listener that does not read holds nothing:
//! the core's ring goes on without it, and it is told how many it has missed.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use weir_core::broker::Broker;
use weir_core::events::{
    Direction, Event as CoreEvent, EventKind as CoreKind, Heard, Listener, Listening,
    PartitionsChange,
};
use weir_model::ids::PartitionIndex;
use weir_proto::v1::error_detail::Reason;
use weir_proto::v1::event::Kind;
use weir_proto::v1::events_server::Events;
use weir_proto::v1::partitions_changed::Change;
use weir_proto::v1::throttled::Direction as WireDirection;
use weir_proto::v1::{
    Event, EventKind, Flushed, GroupRebalanced, Missed, PartitionsChanged, Recovered,
    StreamCreated, StreamDeleted, Throttled, WatchRequest,
};

use crate::answers::{Answers, Source};
use crate::errors::Refusal;
use crate::inspect::millis_up;
use crate::server::turned_true;

/// Most partitions that one event names.
const NAMED_MAX: usize = 1_000;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct EventsService {
    pub(crate) broker: Arc<Broker>,
    /// Turns true when the server stops.
    pub(crate) stopped: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl Events for EventsService {
    type WatchStream = Answers<Watch>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let filter = Filter::of(&request.get_ref().stream, &request.get_ref().kinds)?;
        let listening =
            Listening { past: request.get_ref().replay, flushes: filter.wants(EventKind::Flushed) };
        let listener = Listener::new(Arc::clone(&self.broker), listening);
        let (broker, stopped) = (Arc::clone(&self.broker), self.stopped.clone());
        Ok(Response::new(Answers::of(Watch { broker, listener, filter, stopped })))
    }
}

/// One who watches.
#[derive(Debug)]
pub(crate) struct Watch {
    broker: Arc<Broker>,
    listener: Listener,
    filter: Filter,
    stopped: watch::Receiver<bool>,
}

impl Source for Watch {
    type Answer = Event;

    async fn next(&mut self) -> Option<Result<Event, Refusal>> {
        loop {
            let heard = tokio::select! {
                biased;
                () = turned_true(&mut self.stopped) => {
                    let why = "the broker is stopping";
                    return Some(Err(Refusal::new(Reason::ShuttingDown, why)));
                }
                heard = self.listener.next() => heard,
            };
            match heard {
                Heard::Event(event) if self.filter.takes(&event) => return Some(Ok(shown(&event))),
                Heard::Event(_) => {}
                Heard::Missed(count) => {
                    let time_ms = self.broker.clock().now().as_millis();
                    let kind = Some(Kind::Missed(Missed { count }));
                    return Some(Ok(Event { time_ms, kind, ..Event::default() }));
                }
            }
        }
    }
}

/// What a listener wants of all that happens.
#[derive(Debug)]
struct Filter {
    /// The stream's name; of everything where there is none.
    stream: Option<String>,
    /// All where it is empty.
    kinds: HashSet<EventKind>,
}

impl Filter {
    fn of(stream: &str, kinds: &[i32]) -> Result<Filter, Refusal> {
        let kind = |number: &i32| match EventKind::try_from(*number) {
            Ok(EventKind::Unspecified) | Err(_) => {
                Err(Refusal::invalid(format!("there is no kind {number} of events")))
            }
            Ok(kind) => Ok(kind),
        };
        let kinds = kinds.iter().map(kind).collect::<Result<_, _>>()?;
        Ok(Filter { stream: (!stream.is_empty()).then(|| stream.to_owned()), kinds })
    }

    fn wants(&self, kind: EventKind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn takes(&self, event: &CoreEvent) -> bool {
        let is_of_stream = match &self.stream {
            None => true,
            Some(wanted) => event.stream.as_ref().is_some_and(|name| name.as_str() == wanted),
        };
        is_of_stream && self.wants(kind_of(&event.kind))
    }
}

fn kind_of(kind: &CoreKind) -> EventKind {
    match kind {
        CoreKind::Created { .. } => EventKind::Created,
        CoreKind::Deleted => EventKind::Deleted,
        CoreKind::PartitionsChanged { .. } => EventKind::PartitionsChanged,
        CoreKind::Rebalanced { .. } => EventKind::Rebalanced,
        CoreKind::Throttled { .. } => EventKind::Throttled,
        CoreKind::Flushed { .. } => EventKind::Flushed,
        CoreKind::Recovered(_) => EventKind::Recovered,
    }
}

fn shown(event: &CoreEvent) -> Event {
    Event {
        time_ms: event.time.as_millis(),
        stream: event.stream.as_ref().map(ToString::to_string).unwrap_or_default(),
        partition: event.partition.map(PartitionIndex::as_u32),
        kind: Some(kind(&event.kind)),
    }
}

fn kind(kind: &CoreKind) -> Kind {
    match kind {
        CoreKind::Created { partitions } => {
            Kind::Created(StreamCreated { partitions: count(*partitions) })
        }
        CoreKind::Deleted => Kind::Deleted(StreamDeleted {}),
        CoreKind::PartitionsChanged { change, closed, made, open_count } => {
            let change = match change {
                PartitionsChange::Split => Change::Split,
                PartitionsChange::Merged => Change::Merged,
                PartitionsChange::Scaled => Change::Scaled,
                PartitionsChange::Added => Change::Added,
            };
            let (closed, made) = (named(closed), named(made));
            let open_partitions = count(*open_count);
            let change = change.into();
            Kind::PartitionsChanged(PartitionsChanged { change, closed, made, open_partitions })
        }
        CoreKind::Rebalanced { group, generation, members } => Kind::Rebalanced(GroupRebalanced {
            group: group.clone(),
            generation: *generation,
            members: count(*members),
        }),
        CoreKind::Throttled { direction, wait } => {
            let direction = match direction {
                Direction::Write => WireDirection::Write,
                Direction::Read => WireDirection::Read,
            };
            let direction = direction.into();
            Kind::Throttled(Throttled { direction, wait_ms: millis_up(*wait) })
        }
        CoreKind::Flushed { bytes, took } => {
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            Kind::Flushed(Flushed { bytes: *bytes, took_us })
        }
        CoreKind::Recovered(recovered) => Kind::Recovered(Recovered {
            epoch: recovered.epoch,
            partitions: recovered.partitions,
            damaged: recovered.damaged,
            records: recovered.records,
        }),
    }
}

fn named(partitions: &[PartitionIndex]) -> Vec<u32> {
    partitions.iter().take(NAMED_MAX).map(|index| index.as_u32()).collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
