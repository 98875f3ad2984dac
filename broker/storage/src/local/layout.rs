//! Where the files are: names and nothing else.
//!
//! ```text
//! logs/<stream-uuid>-<partition>/<base20>.log         record batches
//!                                <base20>.index       sparse: offset -> position
//!                                <base20>.timeindex   sparse: time -> offset
//!                                <base20>.snapshot    producers, before the record at that offset
//!                                <base20>.seal        length, counts, checksums; written at roll
//!                                quarantine/          what recovery cut off
//! ```
//!
//! Directories are named by ids, never by stream names: no traversal, no trouble with case or
//! length, and a stream made again under an old name shares nothing with the old one. There is none
//! for a stream: each directory costs a new partition's first flush one more name to make last.

use std::path::{Path, PathBuf};

use weir_model::ids::{PartitionId, PartitionIndex};
use weir_model::offset::Offset;

/// The directory that holds every partition's directory.
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

pub(crate) fn partition_directory(id: PartitionId) -> PathBuf {
    Path::new(LOGS).join(format!("{}-{}", id.stream, id.index))
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

/// Reads the name of a partition's directory back.
pub(crate) fn parse_partition(name: &str) -> Option<PartitionId> {
    let (stream, index) = name.rsplit_once('-')?;
    let stream = stream.parse().ok()?;
    let index = PartitionIndex::try_from(index.parse::<i64>().ok()?).ok()?;
    let id = PartitionId { stream, index };
    // Only the canonical spelling: "…-007" and "…-7" would be two directories of one partition.
    partition_directory(id).ends_with(name).then_some(id)
}

#[cfg(test)]
mod tests {
    use weir_model::ids::StreamId;

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
    }

    #[test]
    fn partition_directories_read_back_and_others_do_not() {
        let stream = StreamId::from_bytes([0xa5; 16]);
        let id = PartitionId { stream, index: PartitionIndex::try_from(7).expect("in range") };
        let directory = partition_directory(id);
        let name = directory.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert_eq!(parse_partition(name), Some(id));
        for name in [
            &format!("{stream}-07"),
            &format!("{stream}--1"),
            &format!("{}-7", stream.to_string().to_uppercase()),
            &stream.to_string(),
            "7",
            "",
        ] {
            assert_eq!(parse_partition(name), None, "{name}");
        }
    }
}
