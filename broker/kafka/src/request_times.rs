//! Where the time of one request goes, stage after stage; see [`weir_core::metrics::latency`].

use std::sync::Arc;

use weir_core::metrics::RequestMetrics;
use weir_core::metrics::latency::Stage;
use weir_model::time::Moment;

/// The times of a request that was begun.
#[derive(Debug)]
pub(crate) struct RequestTimes {
    metrics: Arc<RequestMetrics>,
    received: Moment,
    /// When the last stage ended.
    ended: Moment,
}

impl RequestTimes {
    /// Of a request that was there at `received` and begun at `begun`.
    pub(crate) fn begun(
        metrics: Arc<RequestMetrics>,
        received: Moment,
        begun: Moment,
    ) -> RequestTimes {
        let mut times = RequestTimes { metrics, received, ended: received };
        times.end(Stage::Begin, begun);
        times
    }

    /// Counts the stage that ends now.
    pub(crate) fn end(&mut self, stage: Stage, now: Moment) {
        self.metrics.latency.observe(stage, now.since(self.ended));
        self.ended = now;
    }

    /// Counts the whole, up to the end of the last stage.
    pub(crate) fn done(self) {
        self.metrics.latency.observe_total(self.ended.since(self.received));
    }
}
