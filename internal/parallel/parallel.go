// Package parallel says how many tests of a package run at once, for packages
// whose tests wait more than they compute.
package parallel

import (
	"flag"
	"runtime"
	"strconv"
)

// AtLeast has that many parallel tests run at once, or as many as there are
// processors if these are more. TestMain calls it ahead of the tests. A number
// on the command line counts instead; and in fuzzing, nothing is changed: there
// it is the number of workers.
func AtLeast(tests int) {
	const name = "test.parallel"
	flag.Parse()
	given := flag.Lookup("test.fuzz").Value.String() != ""
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return
	}
	if err := flag.Set(name, strconv.Itoa(max(tests, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err) // a bug: the flag takes any number
	}
}
