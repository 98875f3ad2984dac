//! One request and its answer on their way through a handler.
//!
//! A handler is `async fn handle(context: RequestContext, request: XRequest) ->
//! Result<XResponse, CloseReason>`. It runs when the answers to all earlier requests of its
//! connection have gone out ([`Exchange::in_turn`]), as in Kafka, which takes up one request of a
//! connection at a time. Produce alone has a part that runs earlier, while its requests are read,
//! since the order of its batches is decided there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use weir_core::Extent;
use weir_core::broker::Broker;
use weir_core::metrics::RequestMetrics;
use weir_core::request_budget::HeldBytes;
use weir_kafka_protocol::{ErrorCode, Gather, Reader, Request, RequestHeader, Response, frame};

use crate::close::CloseReason;
use crate::connection::ConnectionInfo;

use crate::service::KafkaService;

/// What a handler is told beside the request's body.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    pub(crate) service: Arc<KafkaService>,
    /// Who asks, and whether the connection is about to end.
    pub(crate) connection: Arc<ConnectionInfo>,
    /// One of the versions that `dispatch` lists for the API.
    pub(crate) version: i16,
    /// As the client calls itself; show it through [`crate::client_text::ClientText`].
    pub(crate) client_id: Option<String>,
    pub(crate) metrics: Arc<RequestMetrics>,
    /// What the request holds of the broker's budget until it is answered.
    pub(crate) held: HeldBytes,
}

impl RequestContext {
    pub(crate) fn broker(&self) -> &Broker {
        self.service.broker()
    }

    /// The code as the wire has it; counted, unless it is the code of success.
    pub(crate) fn answer_code(&self, code: ErrorCode) -> i16 {
        if code != ErrorCode::NONE {
            self.metrics.errors.add(1);
        }
        code.0
    }
}

/// An answer, ready for the socket.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) frame: Gather,
    /// What the frame's external parts stand for, by their index: each is a run of extents.
    pub(crate) extents: Vec<Vec<Extent>>,
}

/// Becomes the answer when polled; `None` where the protocol wants none (Produce with acks=0).
pub(crate) type PendingAnswer =
    Pin<Box<dyn Future<Output = Result<Option<Answer>, CloseReason>> + Send>>;

/// What is done at once when a request has been read; its result is done in turn.
pub(crate) type Started = Pin<Box<dyn Future<Output = Result<PendingAnswer, CloseReason>> + Send>>;

/// One request whose header has been read.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) context: RequestContext,
    header: RequestHeader,
    body: Reader,
}

impl Exchange {
    pub(crate) fn new(context: RequestContext, header: RequestHeader, body: Reader) -> Exchange {
        Exchange { context, header, body }
    }

    /// Reads the body. Bytes after it are ignored, as Kafka does.
    pub(crate) fn decode<R: Request>(&mut self) -> Result<R, CloseReason> {
        assert_eq!(R::API_KEY, self.header.api_key, "dispatched to the handler of another API");
        Ok(R::decode(&mut self.body, self.header.api_version)?)
    }

    /// The answer with this body.
    pub(crate) fn answer<R: Response>(
        &self,
        response: &R,
        extents: Vec<Vec<Extent>>,
    ) -> Result<Answer, CloseReason> {
        self.answer_in_version(response, self.header.api_version, extents)
    }

    /// The answer in another version than the request's: only ApiVersions has that.
    pub(crate) fn answer_in_version<R: Response>(
        &self,
        response: &R,
        version: i16,
        extents: Vec<Vec<Extent>>,
    ) -> Result<Answer, CloseReason> {
        let frame = frame::encode_response(self.header.correlation_id, version, response)?;
        self.context.metrics.bytes_out.add(frame.total_length() as u64);
        Ok(Answer { frame, extents })
    }

    /// Decodes now, and runs `handle` when all earlier requests have been answered.
    pub(crate) fn in_turn<R, H, F>(mut self, handle: H) -> Started
    where
        R: Request + Send + 'static,
        R::Response: Send,
        H: FnOnce(RequestContext, R) -> F + Send + 'static,
        F: Future<Output = Result<R::Response, CloseReason>> + Send + 'static,
    {
        let decoded = self.decode::<R>();
        let start = |request| -> PendingAnswer {
            Box::pin(async move {
                let response = handle(self.context.clone(), request).await?;
                self.answer(&response, Vec::new()).map(Some)
            })
        };
        Box::pin(std::future::ready(decoded.map(start)))
    }
}
