//! Reads what a member has of one stream: a `Tail` call, made again where it was when it is lost.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Streaming;
use weir_proto::v1;

use super::Batch;
use super::share::{Key, Shared};
use crate::connection::Client;
use crate::consumer::{got, wire_position};
use crate::error::{Error, Reason};
use crate::record::From;

/// A reader of a stream. Its number says which partitions are its own: the share knows.
pub(super) struct Reader {
    pub(super) client: Client,
    pub(super) stream: Arc<str>,
    pub(super) number: u64,
    /// Where to begin where the group has no position.
    pub(super) from: From,
    pub(super) shared: Arc<Shared>,
    pub(super) out: mpsc::Sender<Result<Batch, Error>>,
}

/// A reader's task, which ends with this.
pub(super) struct Reading(JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a call ended.
enum End {
    /// Nobody wants it any more.
    Finished,
    /// It broke off, after so many answers.
    Lost(Error, u64),
}

impl Reader {
    pub(super) fn begin(self) -> Reading {
        Reading(tokio::spawn(self.run()))
    }

    async fn run(self) {
        let clock = Arc::clone(&self.client.clock);
        let retry = *self.client.retry();
        let (mut failures, mut failing_since) = (0, clock.real_moment());
        loop {
            let end = match self.call().await {
                Ok(Some(answers)) => self.read(answers).await,
                Ok(None) => return,
                Err(error) => End::Lost(error, 0),
            };
            let End::Lost(error, answers) = end else { return };
            if answers > 0 {
                (failures, failing_since) = (0, clock.real_moment());
            }
            let is_over = clock.real_moment().since(failing_since) > retry.time_max;
            if is_over || !may_pass(&error) {
                // If nobody takes it, nobody wants it.
                let _ = self.out.send(Err(error)).await;
                return;
            }
            tokio::time::sleep(retry.pause(failures)).await;
            failures += 1;
        }
    }

    async fn call(&self) -> Result<Option<Streaming<v1::TailResponse>>, Error> {
        let (partitions, offsets) = self.shared.share.lock().places(self.number);
        if partitions.is_empty() {
            return Ok(None);
        }
        let request = v1::TailRequest {
            stream: self.stream.to_string(),
            partitions,
            from: Some(wire_position(self.from)),
            until_now: false,
            records_max: 0,
            offsets,
            announce_positions: true,
        };
        Ok(Some(self.client.records().tail(request).await?.into_inner()))
    }

    async fn read(&self, mut answers: Streaming<v1::TailResponse>) -> End {
        let mut count = 0;
        loop {
            let answer = match answers.message().await {
                Ok(Some(answer)) => answer,
                // All of it is closed and was read to its end.
                Ok(None) => return End::Finished,
                Err(status) => return End::Lost(status.into(), count),
            };
            count += 1;
            let Ok(place) = self.out.reserve().await else { return End::Finished };
            let v1::TailResponse { partition, records, next_offset, .. } = answer;
            let key = Key { stream: Arc::clone(&self.stream), partition };
            let records: Vec<_> =
                records.into_iter().map(|record| got(&self.stream, partition, record)).collect();
            // Both under the lock: another reader that goes on from here comes behind.
            let mut share = self.shared.share.lock();
            let Some(life) = share.advance(self.number, &key, next_offset) else { continue };
            place.send(Ok(Batch { key, life, records: records.into_iter(), next_offset }));
        }
    }
}

/// A stream or partition that is gone is taken from the member soon.
fn may_pass(error: &Error) -> bool {
    let is_gone = matches!(error.reason(), Some(Reason::UnknownStream | Reason::UnknownPartition));
    is_gone || error.may_pass()
}
