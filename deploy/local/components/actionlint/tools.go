//go:build tools

// Package tools makes `go mod tidy` keep what the build of actionlint needs.
package tools

import _ "github.com/rhysd/actionlint/cmd/actionlint"
