// Package ext stands in for a nested module of Traefik that no module proxy
// serves. Traefik embeds these two types to let a commercial edition add fields;
// the open edition has none.
package ext

// HTTP adds nothing to the HTTP section of the dynamic configuration.
type HTTP struct{}

// Router adds nothing to a router of the dynamic configuration.
type Router struct{}
