//! Answers that follow one another, made one at a time when HTTP/2 asks for the next.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_stream::Stream;
use tonic::Status;

use crate::errors::Refusal;

/// What makes the answers of one call.
pub(crate) trait Source: Sized + Send + 'static {
    /// One answer.
    type Answer: Send + 'static;

    /// The next answer; none at the end. A refusal is the last.
    fn next(&mut self) -> impl Future<Output = Option<Result<Self::Answer, Refusal>>> + Send;
}

type Made<S> = (Option<Result<<S as Source>::Answer, Refusal>>, S);

/// The answers of a source.
pub(crate) struct Answers<S: Source> {
    /// The answer that is being made; none after the end.
    step: Option<Pin<Box<dyn Future<Output = Made<S>> + Send>>>,
}

impl<S: Source> Answers<S> {
    pub(crate) fn of(source: S) -> Answers<S> {
        Answers { step: Some(begin(source)) }
    }
}

fn begin<S: Source>(mut source: S) -> Pin<Box<dyn Future<Output = Made<S>> + Send>> {
    Box::pin(async move { (source.next().await, source) })
}

impl<S: Source> Stream for Answers<S> {
    type Item = Result<S::Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(step) = &mut self.step else { return Poll::Ready(None) };
        let (answer, source) = ready!(step.as_mut().poll(context));
        self.step = matches!(answer, Some(Ok(_))).then(|| begin(source));
        Poll::Ready(answer.map(|answer| answer.map_err(Status::from)))
    }
}

impl<S: Source> fmt::Debug for Answers<S> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Answers").field("has_ended", &self.step.is_none()).finish()
    }
}
