package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a flag whose text one function parses, whether it comes from the
// command line, the environment or a file. It is a pflag.Value.
type value[T any] struct {
	target *T
	kind   string // what the help calls the argument
	parse  func(string) (T, error)
	format func(T) string
}

func (v value[T]) String() string {
	if v.target == nil {
		return ""
	}
	return v.format(*v.target)
}

func (v value[T]) Type() string { return v.kind }

func (v value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err != nil {
		return err
	}
	*v.target = parsed
	return nil
}

// The kinds of values below differ in what they accept; their errors tell the
// rule and leave naming the flag to the caller.

func textValue(target *string, kind string, check func(string) error) value[string] {
	return value[string]{target, kind, func(s string) (string, error) { return s, check(s) }, func(s string) string { return s }}
}

func fileValue(target *string) value[string] {
	return textValue(target, "file", func(string) error { return nil })
}

func boolValue(target *bool) value[bool] {
	parse := func(s string) (bool, error) {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return false, errors.New("must be true or false")
		}
		return b, nil
	}
	return value[bool]{target, "bool", parse, strconv.FormatBool}
}

func choiceValue(target *string, choices ...string) value[string] {
	kind := strings.Join(choices, "|")
	return textValue(target, kind, func(s string) error {
		if !slices.Contains(choices, s) {
			return fmt.Errorf("must be one of %s", strings.Join(choices, ", "))
		}
		return nil
	})
}

// listValue is comma-separated; a flag given again adds to its list, and an
// empty text adds nothing.
func listValue(target *[]string, kind string, check func(string) error) value[[]string] {
	parse := func(s string) ([]string, error) {
		items := *target
		for item := range strings.SplitSeq(s, ",") {
			if s == "" {
				break
			}
			if err := check(item); err != nil {
				return nil, err
			}
			items = append(items, item)
		}
		return items, nil
	}
	return value[[]string]{target, kind, parse, func(s []string) string { return strings.Join(s, ",") }}
}

func countValue(target *uint64, least, most uint64) value[uint64] {
	parse := func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
	format := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return ranged(value[uint64]{target, "number", parse, format}, least, most)
}

func sizeValue(target *uint64, least, most uint64) value[uint64] {
	return ranged(value[uint64]{target, "size", parseSize, formatSize}, least, most)
}

func durationValue(target *time.Duration, least, most time.Duration) value[time.Duration] {
	return ranged(value[time.Duration]{target, "duration", time.ParseDuration, formatDuration}, least, most)
}

// ranged makes v refuse, with its kind and bounds, what it cannot parse and
// what is out of bounds.
func ranged[T cmp.Ordered](v value[T], least, most T) value[T] {
	parse := v.parse
	v.parse = func(s string) (T, error) {
		got, err := parse(s)
		if err != nil || got < least || got > most {
			return got, fmt.Errorf("must be a %s from %s to %s", v.kind, v.format(least), v.format(most))
		}
		return got, nil
	}
	return v
}

var sizeUnits = []struct {
	name  string
	bytes uint64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// parseSize reads a number of bytes such as 1048576, 512B or 1MiB.
func parseSize(s string) (uint64, error) {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || n > 1<<62/unit.bytes {
			break
		}
		return n * unit.bytes, nil
	}
	return 0, errors.New("not a size")
}

// formatSize is the inverse of parseSize, in the greatest unit that fits.
func formatSize(n uint64) string {
	for _, unit := range sizeUnits {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatUint(n/unit.bytes, 10) + unit.name
		}
	}
	return "0B"
}

// formatDuration leaves out the zero minutes and seconds that
// time.Duration.String writes.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// listenAddress accepts host:port, where an empty host means every interface
// and port 0 any free one.
func listenAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return errors.New("must be host:port")
	}
	return nil
}

// dialAddress accepts the host:port that others can call.
func dialAddress(s string) error {
	if err := listenAddress(s); err != nil {
		return err
	}
	if host, port, _ := net.SplitHostPort(s); unspecified(host) || port == "0" {
		return errors.New("must be host:port that other nodes can call")
	}
	return nil
}

// unspecified reports whether a listener's host means every interface.
func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// loopback reports whether a listener's host is out of other hosts' reach.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
