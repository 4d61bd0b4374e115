// Package logstore keeps a node's Raft log, term and vote on disk. It wraps
// raft-boltdb, whose file it keeps to itself, and adds what a bare bolt file
// does not promise:
//
//   - Damage is found before it is served. Every record carries a CRC32C, the
//     whole file is read at [Open], and slowly again while the store runs.
//   - The vote's term and candidate change together.
//   - FirstIndex and LastIndex always describe a range without a gap, also
//     after a crash in the middle of any call.
//   - It is fail-stop. After the first error of a write, after damage, and
//     after a write that hangs, [Config.Fatal] is called once and every call
//     returns that error. A write is never tried again: after a failed fsync
//     the kernel may have dropped the pages and call the next one a success, so
//     only a restart, which reads the file, knows what is on disk.
//   - It says when the disk is nearly full, before writes fail.
//
// # The file
//
// Dir holds raft.db, a bolt file with the two buckets of raft-boltdb.
//
// "logs" maps an index (8 bytes, big-endian) to a raft.Log in msgpack. The
// record's Extensions are a version byte, a CRC32C over all that the entry
// holds, and then the Extensions that Raft gave. The greatest possible index is
// the head: it names the extent, which is the range of entries that count, and
// is written in the transaction of every append. Entries beside the extent are
// waste that a deletion has not reached yet: [Store.DeleteRange] first moves
// the extent and then deletes in small transactions, and Open deletes what a
// crash has left. So every call takes effect in one transaction, whichever
// order the deletions run in.
//
// "conf" holds one record, "state": current term, vote, and a CRC32C.
//
// Bolt has no checksums on its pages, and a flipped bit in a page's number can
// make an old copy of a page current again, with records that are all valid.
// So the head and the state carry the number of the transaction that wrote
// them and of the newest transaction that wrote the other one, and Open
// compares them with the number in bolt's meta page, which has a checksum. It
// asks for both meta pages to be whole: bolt itself falls back to the older
// one, which is to forget an acknowledged write. (A meta page lies within one
// disk sector, so a crash does not tear it.) Together with the layout of every
// page in use, which follows from its contents, that leaves no single bit in
// the file that could flip and change what the store says without an error.
//
// # What it leaves out
//
// The store is not a raft.MonotonicLogStore. Of one that is, Raft deletes the
// whole log when it installs a snapshot, with entries after the snapshot that
// this node may have acknowledged and others count on. Raft tells the others by
// leaving a gap: an append that does not continue the log replaces it, here.
//
// It is not a raft.CommitTrackingLogStore either, though the head had room for
// the commit index: with raft 1.8.0 a node that starts with RestoreCommittedLogs
// skips the configuration entries among the committed ones, and NewRaft never
// returns if there are more than 128 × MaxAppendEntries of them.
package logstore
