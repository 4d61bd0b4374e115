// Package faultfs is a disk that can be hurt: a file system, served by this
// process through FUSE over a directory, that knows what was made durable and
// can lose the rest.
//
// # What is durable
//
// Content is durable once its file was fsynced, in sectors of 512 bytes. A name
// (a file or directory that was made, renamed or removed) is durable once its
// directory was fsynced, or one in which a later name changed: names go through
// a journal, as those of ext4 and xfs do, but a file's fsync does not push it.
// [Disk.Crash] takes all that is not durable away, or some of it.
//
// An fsync that fails loses what it was to make durable, as on Linux: processes
// go on seeing it in the page cache, the disk has not got it, and the next fsync
// succeeds.
//
// So many sectors and names are kept at most; beyond, the oldest become durable
// by themselves, as a kernel writes back when it likes.
//
// # Deadlocks
//
// The process that serves a disk must not use its mount point, which could wait
// for itself. [Disk.Tree] is where the same files can be had: while no process
// uses the disk, for all purposes; else for what [Disk.Flip] does.
//
// The kernel's page cache is in use, so that a file can be mapped and written
// at once, as bolt does. Names and attributes are not cached, and content only
// while a file is open.
//
// Hard and symbolic links, devices and fallocate are refused.
package faultfs
