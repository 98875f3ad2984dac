//! Gives every idempotent producer a number of its own, for the life of the data directory.
//!
//! Ids are taken from the metadata in blocks of a thousand, as Kafka does, so that a producer's
//! start costs a commit once in a thousand times; what is left of a block when the broker stops is
//! never given out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;
use weir_model::ids::ProducerId;
use weir_storage::error::MetaError;
use weir_storage::meta::{Expect, MetaChange, MetaStore};

/// Ids per metadata commit.
const BLOCK: i64 = 1000;
/// The row that holds the first id not yet taken, as decimal text.
const KEY: &[u8] = b"c:next-producer-id";

/// Hands out producer ids.
#[derive(Debug)]
pub struct ProducerIds {
    meta: Arc<dyn MetaStore>,
    /// An async lock: held across the commit of a block, so that two producers do not both take
    /// one.
    block: Mutex<Range<i64>>,
}

impl ProducerIds {
    /// Hands out ids from this store.
    pub fn new(meta: Arc<dyn MetaStore>) -> ProducerIds {
        ProducerIds { meta, block: Mutex::new(0..0) }
    }

    /// A number that no producer had before.
    pub async fn allocate(&self) -> Result<ProducerId, MetaError> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            *block = self.take_block().await?;
        }
        let id = block.next().expect("a block that was just taken is not empty");
        Ok(ProducerId::new(id).expect("ids count up from zero"))
    }

    async fn take_block(&self) -> Result<Range<i64>, MetaError> {
        let row = self.meta.get(Bytes::from_static(KEY)).await?;
        let (first, expect) = match &row {
            None => (0, Expect::Absent),
            Some(row) => {
                let text = std::str::from_utf8(&row.value).ok();
                let first = text.and_then(|text| text.parse().ok()).ok_or_else(|| {
                    MetaError::Failed("the next producer id is not a number".to_owned())
                })?;
                (first, Expect::Version(row.version))
            }
        };
        let value = Some(Bytes::from((first + BLOCK).to_string()));
        let change = MetaChange { key: Bytes::from_static(KEY), expect, value };
        self.meta.commit(vec![change]).await?;
        Ok(first..first + BLOCK)
    }
}
