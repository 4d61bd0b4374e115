package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Forms of --output. auto is formTable on a terminal and formPlain elsewhere.
const (
	formAuto  = "auto"
	formJSON  = "json"  // one document a line, indented on a terminal
	formTable = "table" // aligned, under a header
	formPlain = "plain" // no header, tabs between columns
)

func outputFlag(fs *pflag.FlagSet, form *string) {
	*form = formAuto
	fs.VarP(choiceValue(form, formAuto, formTable, formPlain, formJSON), "output", "o",
		"form of the answer; auto is table on a terminal, else plain")
}

// output writes what a command has to tell.
type output struct {
	w        io.Writer
	form     string // of --output
	terminal bool
	colour   bool
}

func newOutput(w io.Writer, form string) *output {
	o := &output{w: w, form: form, terminal: isTerminal(w)}
	o.colour = o.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return o
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// shape is the form with auto resolved.
func (o *output) shape() string {
	switch {
	case o.form != formAuto:
		return o.form
	case o.terminal:
		return formTable
	default:
		return formPlain
	}
}

// json writes v as one document.
func (o *output) json(v any) error {
	enc := json.NewEncoder(o.w)
	enc.SetEscapeHTML(false)
	if o.terminal {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// line writes one line of text.
func (o *output) line(text string) error {
	_, err := fmt.Fprintln(o.w, text)
	return err
}

// Colours, as ANSI escapes select them.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// paint is for a terminal that shows colours; elsewhere text stays as it is.
func (o *output) paint(colour, text string) string {
	if !o.colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// table is rows of cells under a header.
type table struct {
	columns []column
	rows    [][]cell
}

type column struct {
	title string
	right bool // numbers are aligned at their last digit
}

type cell struct{ text, colour string }

// add appends a row without colours.
func (t *table) add(texts ...string) {
	row := make([]cell, len(texts))
	for i, text := range texts {
		row[i].text = text
	}
	t.rows = append(t.rows, row)
}

// table writes t aligned or plain, as the shape is.
func (o *output) table(t table) error {
	var b strings.Builder
	if o.shape() == formPlain {
		for _, row := range t.rows {
			writePlain(&b, row)
		}
	} else {
		o.writeAligned(&b, t)
	}
	_, err := io.WriteString(o.w, b.String())
	return err
}

func writePlain(b *strings.Builder, row []cell) {
	for i, c := range row {
		if i > 0 {
			b.WriteByte('\t')
		}
		b.WriteString(c.text)
	}
	b.WriteByte('\n')
}

func (o *output) writeAligned(b *strings.Builder, t table) {
	header := make([]cell, len(t.columns))
	for i, c := range t.columns {
		header[i] = cell{c.title, bold}
	}
	rows := append([][]cell{header}, t.rows...)
	widths := make([]int, len(t.columns))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range rows {
		o.writeRow(b, t.columns, widths, row)
	}
}

func (o *output) writeRow(b *strings.Builder, columns []column, widths []int, row []cell) {
	for i, c := range row {
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text))
		text := o.paint(c.colour, c.text)
		switch {
		case columns[i].right:
			text = pad + text
		case i < len(row)-1:
			text += pad
		}
		if i > 0 {
			b.WriteString("  ")
		}
		b.WriteString(text)
	}
	b.WriteByte('\n')
}
