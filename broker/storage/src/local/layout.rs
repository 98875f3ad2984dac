//! Where the files are: names and nothing else.
//!
//! ```text
//! logs/<stream-uuid>/<partition>/<base20>.log         record batches
//!                                <base20>.index       sparse: offset -> position
//!                                <base20>.timeindex   sparse: time -> offset
//!                                <base20>.snapshot    producers, before the record at that offset
//!                                <base20>.seal        length, counts, checksums; written at roll
//!                                quarantine/          what recovery cut off
//! ```
//!
//! Directories are named by ids, never by stream names: no traversal, no trouble with case or
//! length, and a stream made again under an old name shares nothing with the old one.

use std::path::{Path, PathBuf};

use weir_model::ids::{PartitionId, PartitionIndex, StreamId};
use weir_model::offset::Offset;

/// The directory that holds every stream's directory.
pub(crate) const LOGS: &str = "logs";
/// The directory, in a partition's, for what recovery cut off.
pub(crate) const QUARANTINE: &str = "quarantine";

/// What a file of a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    Log,
    OffsetIndex,
    TimeIndex,
    Snapshot,
    Seal,
}

impl FileKind {
    pub(crate) const ALL: [FileKind; 5] = [
        FileKind::Log,
        FileKind::OffsetIndex,
        FileKind::TimeIndex,
        FileKind::Snapshot,
        FileKind::Seal,
    ];

    const fn extension(self) -> &'static str {
        match self {
            FileKind::Log => "log",
            FileKind::OffsetIndex => "index",
            FileKind::TimeIndex => "timeindex",
            FileKind::Snapshot => "snapshot",
            FileKind::Seal => "seal",
        }
    }
}

pub(crate) fn stream_directory(stream: StreamId) -> PathBuf {
    Path::new(LOGS).join(stream.to_string())
}

pub(crate) fn partition_directory(id: PartitionId) -> PathBuf {
    stream_directory(id.stream).join(id.index.to_string())
}

pub(crate) fn file_name(base: Offset, kind: FileKind) -> String {
    format!("{:020}.{}", base.number(), kind.extension())
}

/// Reads a file's name back; none for names that are not a segment's.
pub(crate) fn parse_file_name(name: &str) -> Option<(Offset, FileKind)> {
    let (digits, extension) = name.split_once('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let base = Offset::new(digits.parse().ok()?);
    let kind = FileKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
    Some((base, kind))
}

/// Reads a partition's directory name back.
pub(crate) fn parse_partition(name: &str) -> Option<PartitionIndex> {
    let index = PartitionIndex::try_from(name.parse::<i64>().ok()?).ok()?;
    // Only the canonical spelling: "007" and "7" would be two directories of one partition.
    (index.to_string() == name).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_read_back_and_others_do_not() {
        for kind in FileKind::ALL {
            let name = file_name(Offset::new(42), kind);
            assert_eq!(parse_file_name(&name), Some((Offset::new(42), kind)), "{name}");
        }
        for name in
            ["42.log", "00000000000000000042.tmp", "quarantine", "", "000000000000000000+2.log"]
        {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
        assert_eq!(parse_partition("7").map(PartitionIndex::as_u32), Some(7));
        for name in ["07", "-1", "x", ""] {
            assert_eq!(parse_partition(name), None, "{name}");
        }
    }
}
