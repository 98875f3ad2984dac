//! Where `weir produce` puts records: a producer's batches, or the requests of a Kinesis.

use std::time::Duration;

use serde_json::json;

use crate::command::output::{Failure, Output, Printer};
use crate::kinesis::{Placed, Writer};
use crate::producer::{Delivery, Producer};
use crate::record::NewRecord;

/// Records whose places are waited for together.
const WAITING_MAX: usize = 10_000;

/// Takes records, and says what of them is known to be kept.
pub(super) struct Sink {
    to: To,
    /// How many are kept.
    pub(super) count: u64,
}

enum To {
    Batches {
        producer: Producer,
        /// What was handed over, and is not told yet.
        deliveries: Vec<Delivery>,
    },
    Kinesis {
        writer: Writer,
        /// What is kept, and is not told yet.
        placed: Vec<Placed>,
        /// How long a record may wait for others to share its request.
        linger: Duration,
    },
}

impl Sink {
    pub(super) fn batches(producer: Producer) -> Sink {
        Sink { to: To::Batches { producer, deliveries: Vec::new() }, count: 0 }
    }

    pub(super) fn kinesis(writer: Writer, linger: Duration) -> Sink {
        Sink { to: To::Kinesis { writer, placed: Vec::new(), linger }, count: 0 }
    }

    pub(super) async fn send(&mut self, record: NewRecord) -> Result<(), Failure> {
        match &mut self.to {
            To::Batches { producer, deliveries } => deliveries.push(producer.send(record).await?),
            To::Kinesis { writer, placed, .. } => placed.extend(writer.send(record).await?),
        }
        Ok(())
    }

    /// After how long without another record [`Sink::tell`] is to be called; none where what waits
    /// is sent by itself.
    pub(super) fn linger(&self) -> Option<Duration> {
        match &self.to {
            To::Kinesis { writer, linger, .. } if writer.has_waiting() => Some(*linger),
            _ => None,
        }
    }

    /// Whether so much waits to be told that it is to be told now.
    pub(super) fn is_full(&self) -> bool {
        match &self.to {
            To::Batches { deliveries, .. } => deliveries.len() >= WAITING_MAX,
            To::Kinesis { placed, .. } => placed.len() >= WAITING_MAX,
        }
    }

    /// Waits for all that was handed over, and says where it is if that was asked for.
    pub(super) async fn tell(&mut self, printer: &mut Printer) -> Result<(), Failure> {
        let is_asked = printer.output != Output::Text;
        match &mut self.to {
            To::Batches { deliveries, .. } => {
                for delivery in deliveries.drain(..) {
                    let place = delivery.await?;
                    self.count += 1;
                    if is_asked {
                        let object = json!({
                            "partition": place.partition,
                            "offset": place.offset,
                            "timestamp_ms": place.timestamp_ms,
                        });
                        printer.result(&object, String::new)?;
                    }
                }
            }
            To::Kinesis { writer, placed, .. } => {
                let flushed = writer.flush().await;
                let (now, result) = match flushed {
                    Ok(now) => (now, Ok(())),
                    Err(error) => (Vec::new(), Err(Failure::from(error))),
                };
                for place in placed.drain(..).chain(now) {
                    self.count += 1;
                    if is_asked {
                        let object = json!({
                            "partition": place.partition,
                            "sequence_number": place.sequence_number,
                        });
                        printer.result(&object, String::new)?;
                    }
                }
                result?;
            }
        }
        printer.flush()
    }

    /// Sends what waits, tells, and ends.
    pub(super) async fn close(mut self, printer: &mut Printer) -> (u64, Result<(), Failure>) {
        let flushed = match &self.to {
            To::Batches { producer, .. } => producer.clone().close().await,
            To::Kinesis { .. } => Ok(()),
        };
        let told = self.tell(printer).await;
        (self.count, told.and(flushed.map_err(Failure::from)))
    }
}
