// Package snapshot is a container for a stream of frames: it tells a whole,
// undamaged file from any other. What the frames hold is the caller's matter,
// and so is the content version that the header carries for it.
//
// All integers are little-endian; checksums are CRC-32C (Castagnoli).
//
//	header   magic 8 | container version 4 | content version 4 | CRC of these 4
//	frame    kind 1 (= 1) | length 4 | payload | CRC of all of these 4
//	trailer  kind 1 (= 2) | length 4 (= 48) | frames 8 | payload bytes 8 |
//	         SHA-256 of everything before the trailer 32 | CRC of all of these 4
//
// The header's layout is the same in every container version, so that a newer
// file is recognised as newer and not taken for a damaged one. Nothing may
// follow the trailer.
package snapshot

import (
	"errors"
	"hash/crc32"
)

const (
	// Version is the container version that Writer writes and the newest that
	// Reader reads.
	Version = 1

	// MaxFrame is the greatest length of a frame's payload in bytes.
	MaxFrame = 64 << 20
)

var (
	// ErrCorrupt says that the input is damaged, cut short or no snapshot.
	// The errors that wrap it tell what differed, both values and the offset.
	ErrCorrupt = errors.New("snapshot is corrupt")

	// ErrVersion says that the input is whole so far, but written in a
	// container version that is newer than this build.
	ErrVersion = errors.New("snapshot is of a newer version")

	// ErrTooLarge says that a frame to be written is longer than MaxFrame.
	ErrTooLarge = errors.New("snapshot frame is too large")

	// ErrClosed says that a frame came after Close.
	ErrClosed = errors.New("snapshot writer is closed")
)

// magic holds a byte above 127 and a line feed, so that a transfer that takes
// the file for text is noticed at once.
const magic = "\x89SRSNAP\n"

const (
	headerSize         = 20
	frameHeadSize      = 5 // kind and length
	crcSize            = 4
	trailerSize        = 48
	kindData      byte = 1
	kindEnd       byte = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }
