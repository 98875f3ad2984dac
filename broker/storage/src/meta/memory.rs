//! Metadata without a disk: for the in-memory log and for tests of what stands above.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::error::MetaError;
use crate::meta::{Expect, MetaChange, MetaFuture, MetaStore, Versioned};

/// An ordered map in memory.
#[derive(Debug, Default)]
pub struct MemoryMeta {
    rows: Mutex<BTreeMap<Bytes, Versioned>>,
}

impl MetaStore for MemoryMeta {
    fn get(&self, key: Bytes) -> MetaFuture<'_, Option<Versioned>> {
        Box::pin(async move { Ok(self.rows.lock().get(&key).cloned()) })
    }

    fn scan(&self, prefix: Bytes) -> MetaFuture<'_, Vec<(Bytes, Versioned)>> {
        Box::pin(async move {
            let rows = self.rows.lock();
            let from = rows.range(prefix.clone()..);
            let matching = from.take_while(|(key, _)| key.starts_with(&prefix));
            Ok(matching.map(|(key, row)| (key.clone(), row.clone())).collect())
        })
    }

    fn commit(&self, changes: Vec<MetaChange>) -> MetaFuture<'_, ()> {
        Box::pin(async move {
            let mut rows = self.rows.lock();
            let holds = |change: &MetaChange| match (change.expect, rows.get(&change.key)) {
                (Expect::Anything, _) | (Expect::Absent, None) => true,
                (Expect::Version(version), Some(row)) => row.version == version,
                (Expect::Absent, Some(_)) | (Expect::Version(_), None) => false,
            };
            if !changes.iter().all(holds) {
                return Err(MetaError::Conflict);
            }
            for change in changes {
                let version = rows.get(&change.key).map_or(1, |row| row.version + 1);
                match change.value {
                    Some(value) => rows.insert(change.key, Versioned { version, value }),
                    None => rows.remove(&change.key),
                };
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &'static [u8], expect: Expect, value: Option<&'static [u8]>) -> MetaChange {
        let value = value.map(Bytes::from_static);
        MetaChange { key: Bytes::from_static(key), expect, value }
    }

    #[tokio::test]
    async fn a_commit_is_made_whole_or_not_at_all() {
        let meta = MemoryMeta::default();
        meta.commit(vec![change(b"a", Expect::Absent, Some(b"1"))]).await.expect("a is absent");
        let torn = vec![
            change(b"b", Expect::Absent, Some(b"1")),
            change(b"a", Expect::Version(7), Some(b"2")),
        ];
        assert_eq!(meta.commit(torn).await, Err(MetaError::Conflict));
        assert_eq!(meta.get(Bytes::from_static(b"b")).await, Ok(None));
        let rows = meta.scan(Bytes::new()).await.expect("a scan");
        assert_eq!(rows.len(), 1);
        meta.commit(vec![change(b"a", Expect::Version(1), None)]).await.expect("version 1 holds");
        assert_eq!(meta.scan(Bytes::new()).await, Ok(vec![]));
    }
}
