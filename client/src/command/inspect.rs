//! `weir inspect`: the inside of a stream, one level deeper with each thing that is named.
//!
//! ```text
//!   weir inspect NAME                          its partitions and their hash keys
//!   weir inspect NAME PARTITION                segments, files, indexes, quotas
//!                     … --segment OFFSET       its batches; with --index its index entries
//!                     … --batch OFFSET         each field of the header, and the records
//!                                 … --bytes    each byte
//! ```
//!
//! What the API answers is written down in [`shown`]; a batch's bytes are taken apart in
//! [`anatomy`] and put on lines in [`dump`].

mod anatomy;
mod dump;
mod shown;

use clap::{Args, ValueEnum};

use crate::command::Common;
use crate::command::complete;
use crate::command::output::{Failure, Printer};
use crate::inspect::{Index, Inspector, PartitionPlace, Segment, WantedBatch};

/// Most bytes of a batch that are taken apart: what one answer holds.
const BYTES_MAX: u32 = 1024 * 1024;
/// Most records of a batch that one answer holds.
const RECORDS_MAX: u32 = 1_000;

/// Options of `inspect`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  weir inspect orders                             its partitions
  weir inspect orders 0                           the segments and files of one
  weir inspect orders 0 --segment 0               the batches of the segment with offset 0
  weir inspect orders 0 --segment 0 --index time  the entries of its time index
  weir inspect orders 0 --batch 17                the batch with offset 17
  weir inspect orders 0 --batch 17 --bytes        each of its bytes")]
pub struct InspectOptions {
    #[command(flatten)]
    pub(super) common: Common,

    /// The topic or stream
    #[arg(add = complete::streams())]
    name: String,

    /// One of its partitions
    partition: Option<u32>,

    /// The batches of the segment that holds this offset
    #[arg(long, value_name = "OFFSET", requires = "partition", conflicts_with = "batch")]
    segment: Option<u64>,

    /// The entries of this index of the segment, in the place of its batches
    #[arg(long, value_enum, requires = "segment")]
    index: Option<WantedIndex>,

    /// The batch that holds this offset
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    batch: Option<u64>,

    /// Each byte of the batch: its place in the segment's file, its field and what it says
    #[arg(long, requires = "batch")]
    bytes: bool,

    /// Most segments, batches, index entries or records to show
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// The indexes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WantedIndex {
    /// From an offset to a place in the file
    Offset,
    /// From a time to an offset
    Time,
}

impl InspectOptions {
    pub(crate) async fn run(self, printer: &mut Printer) -> Result<(), Failure> {
        let client = self.common.client("be looked into")?;
        let stream = self.name.clone();
        let Some(partition) = self.partition else {
            let stream = client.admin().describe_stream(&stream).await?;
            return printer.result(&shown::stream_object(&stream), || shown::stream_text(&stream));
        };
        let (inspector, of) = (client.inspector(), PartitionPlace { stream, partition });
        match (self.segment, self.batch) {
            (Some(offset), _) => self.segment(&inspector, &of, offset, printer).await,
            (None, Some(offset)) => self.batch(&inspector, &of, offset, printer).await,
            (None, None) => self.partition(&inspector, &of, printer).await,
        }
    }

    fn limit(&self) -> usize {
        self.limit as usize
    }

    async fn partition(
        &self,
        inspector: &Inspector,
        of: &PartitionPlace,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let found = inspector.segments(of, self.limit()).await?;
        let mut indexes = Vec::new();
        for segment in &found.segments {
            // How many entries there are is wanted, not the entries; fewer than one cannot be.
            let offset = inspector.index(of, segment.base_offset, Index::Offset, 1).await?;
            let time = inspector.index(of, segment.base_offset, Index::Time, 1).await?;
            indexes.push([offset.entry_count, time.entry_count]);
        }
        let buckets = inspector.buckets(of).await?;
        let shown = shown::Partition { of, found: &found, indexes: &indexes, buckets: &buckets };
        printer.result(&shown.object(), || shown.text())
    }

    async fn segment(
        &self,
        inspector: &Inspector,
        of: &PartitionPlace,
        offset: u64,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let segment = segment_with(inspector, of, offset).await?;
        if let Some(wanted) = self.index {
            let index = match wanted {
                WantedIndex::Offset => Index::Offset,
                WantedIndex::Time => Index::Time,
            };
            let found = inspector.index(of, segment.base_offset, index, self.limit()).await?;
            let shown = shown::Entries { of, segment: &segment, index, found: &found };
            return printer.result(&shown.object(), || shown.text());
        }
        let (batches, next) = inspector.batches(of, segment.base_offset, self.limit()).await?;
        let shown = shown::Batches { of, segment: &segment, batches: &batches, next };
        printer.result(&shown.object(), || shown.text())
    }

    async fn batch(
        &self,
        inspector: &Inspector,
        of: &PartitionPlace,
        offset: u64,
        printer: &mut Printer,
    ) -> Result<(), Failure> {
        let wanted = WantedBatch::Offset(offset);
        if !self.bytes {
            let records = self.limit.min(RECORDS_MAX);
            let found = inspector.batch(of, wanted, records, 0).await?;
            return printer
                .result(&shown::batch_object(of, &found), || shown::batch_text(of, &found));
        }
        let found = inspector.batch(of, wanted, 0, BYTES_MAX).await?;
        let batch = found.batch.clone().unwrap_or_default();
        let missing = batch.bytes.saturating_sub(found.raw.len() as u64);
        let anatomy =
            anatomy::take_apart(&found.raw, batch.position, missing == 0, batch.crc_holds);
        printer.result(&shown::bytes_object(of, &found, &anatomy, missing), || {
            shown::bytes_heading(of, &found) + "\n" + &dump::text(&anatomy, missing)
        })
    }
}

/// The segment that holds an offset, or would hold it next.
async fn segment_with(
    inspector: &Inspector,
    of: &PartitionPlace,
    offset: u64,
) -> Result<Segment, Failure> {
    let mut found = inspector.segments(of, usize::MAX).await?.segments;
    found.retain(|segment| segment.base_offset <= offset);
    found.pop().ok_or_else(|| {
        let PartitionPlace { stream, partition } = of;
        let why = format!("no segment of {stream}/{partition} has offset {offset}");
        Failure::of("out_of_range", why)
    })
}
