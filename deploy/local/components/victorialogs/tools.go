//go:build tools

// Package tools makes `go mod tidy` keep what the build of VictoriaLogs needs.
package tools

import _ "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs"
