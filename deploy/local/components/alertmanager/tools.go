//go:build tools

// Package tools makes `go mod tidy` keep what the build of Alertmanager needs.
package tools

import _ "github.com/prometheus/alertmanager/cmd/alertmanager"
