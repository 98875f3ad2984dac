//! Changes of one stream that its owner asks for: judged under the registry's lock, kept by one
//! commit of the stream's row, and shown to everybody after it.
//!
//! Each kind of change is a verb of [`Broker`](crate::broker::Broker) in a file of its own beside
//! this one. It gets a [`Draft`] of what the stream will be, edits it or refuses, and knows nothing
//! of rows and locks. A crash leaves the stream as it was before the change or as it is after it.

use std::sync::Arc;

use tracing::info;
use weir_model::ids::StreamId;
use weir_model::time::Timestamp;
use weir_storage::error::MetaError;

use crate::carried_out::{Turn, carried_out};
use crate::error::AmendError;
use crate::stream::attributes::StreamAttributes;
use crate::stream::config::{Overrides, StreamConfig};
use crate::stream::registry::Registry;
use crate::stream::state::{Passing, State};
use crate::stream::stream::Stream;

/// What a stream is about to be.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What it runs with until the change is kept.
    pub(crate) present: Arc<StreamConfig>,
    /// Its settings, by Kafka name. Only legal names and values may be written here.
    pub(crate) settings: Overrides,
    /// What its owner says of it.
    pub(crate) attributes: StreamAttributes,
    /// When the change is made.
    pub(crate) now: Timestamp,
    /// The state that the stream is in.
    pub(crate) state: State,
}

impl Draft {
    fn of(stream: &Stream, now: Timestamp) -> Draft {
        let present = stream.config();
        Draft {
            settings: present.overrides.clone(),
            attributes: StreamAttributes::clone(&stream.attributes()),
            present,
            now,
            state: stream.state(now),
        }
    }

    /// Has the stream be UPDATING for a while, where states last.
    pub(crate) fn pass(&mut self, updating: Option<Passing>) {
        if updating.is_some() {
            self.attributes.passing = updating;
        }
    }

    /// Writes one setting.
    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.settings.insert(name.to_owned(), value.to_string());
    }
}

impl Registry {
    /// Changes one stream that is ACTIVE. Once begun it is carried out, whether the caller waits or
    /// not.
    pub(crate) async fn amend<T, R>(
        self: &Arc<Registry>,
        id: StreamId,
        change: impl FnOnce(&mut Draft) -> Result<T, R> + Send + 'static,
    ) -> Result<T, AmendError<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.amend_where(id, |state| state == State::Active, change).await
    }

    /// Changes one stream that is in a state in which `may_change` lets it be changed.
    pub(crate) async fn amend_where<T, R>(
        self: &Arc<Registry>,
        id: StreamId,
        may_change: fn(State) -> bool,
        change: impl FnOnce(&mut Draft) -> Result<T, R> + Send + 'static,
    ) -> Result<T, AmendError<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (registry, turn) = (Arc::clone(self), self.turn().await);
        carried_out(async move { registry.amend_now(turn, id, may_change, change).await }).await
    }

    async fn amend_now<T, R>(
        &self,
        _turn: Turn,
        id: StreamId,
        may_change: fn(State) -> bool,
        change: impl FnOnce(&mut Draft) -> Result<T, R>,
    ) -> Result<T, AmendError<R>> {
        let living = self.by_id(id).filter(|stream| !stream.name.is_internal());
        let stream = living.ok_or(AmendError::Unknown)?;
        let mut draft = Draft::of(&stream, self.now());
        if !may_change(draft.state) {
            return Err(AmendError::NotActive(draft.state));
        }
        let outcome = change(&mut draft).map_err(AmendError::Refused)?;
        self.keep(&stream, draft).await.map_err(AmendError::Meta)?;
        Ok(outcome)
    }

    /// Commits what has changed, if anything has, and shows it.
    async fn keep(&self, stream: &Stream, draft: Draft) -> Result<(), MetaError> {
        let Draft { present, settings, attributes, now: _, state: _ } = draft;
        let new_settings = settings != present.overrides;
        let new_attributes = attributes != *stream.attributes();
        if !new_settings && !new_attributes {
            return Ok(());
        }
        let config = StreamConfig::of(settings, &self.defaults());
        self.commit(vec![self.amended_row(stream, &config, &attributes)]).await?;
        if new_attributes {
            info!(stream = %stream.name, "attributes changed");
            stream.set_attributes(attributes);
        }
        if new_settings {
            info!(stream = %stream.name, settings = ?config.overrides, "settings changed");
            self.publish_config(stream, config);
        }
        Ok(())
    }
}
