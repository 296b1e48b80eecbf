//go:build tools

// Package tools makes `go mod tidy` keep what the builds of Prometheus and its
// tool need.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
