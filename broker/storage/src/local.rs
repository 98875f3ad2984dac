//! The arm that keeps segment files on a disk of this machine.
//!
//! ```text
//! local_log   the façade: which partitions there are, opening, closing, housekeeping
//!   partition   one log: its state behind one lock
//!     append      check, place, write, publish
//!     read, lookup  plans of ranges; searches by time
//!     inspect     what it is made of, for people who look
//!     retention   what goes, and when
//!     recovery    what a directory shows after a stop, clean or not; repair of a crash's remains
//!   opening     the steps of a start; removal of what was deleted
//!   flusher     how bytes become durable; directories: the same for names
//!   segment     a log file; open_files bounds how many are open
//!     segment_range  from a plan to bytes: the map, or a blocking read
//!     stored      what lies beside it: offset_index, time_index, seal (and snapshot)
//!   data_dir    lock, format, clean mark; disk_room: the reserve for a full disk
//! ```
//!
//! Read [`partition`] next, then [`append`] and [`flusher`].

pub(crate) mod append;
pub(crate) mod data_dir;
pub(crate) mod directories;
pub(crate) mod disk_room;
pub(crate) mod flusher;
pub(crate) mod inspect;
pub(crate) mod layout;
pub(crate) mod local_log;
pub(crate) mod lookup;
pub(crate) mod map;
pub(crate) mod offset_index;
pub(crate) mod open_files;
pub(crate) mod opening;
pub(crate) mod partition;
pub(crate) mod read;
pub(crate) mod recovery;
pub(crate) mod removal;
pub(crate) mod repair;
pub(crate) mod retention;
pub(crate) mod row;
pub(crate) mod scan;
pub(crate) mod seal;
pub(crate) mod segment;
pub(crate) mod segment_range;
pub(crate) mod shared;
pub(crate) mod snapshot;
pub(crate) mod stored;
pub(crate) mod time_index;

pub use data_dir::{DataDir, OpenError};
pub use disk_room::{DiskRoom, Reserve};
pub use local_log::LocalLog;
pub use segment_range::SegmentRange;
#[doc(hidden)]
pub use shared::Mutation;
pub use shared::{Flushing, LocalOptions};
