package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/distribution/distribution/v3"
	"github.com/distribution/distribution/v3/registry/api/errcode"
	middleware "github.com/distribution/distribution/v3/registry/middleware/repository"
	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Distribution moves a tag to whatever is pushed under it last. Here a tag
// stays where it was put first, and `latest`, which is made to move, is none.
func init() {
	err := middleware.Register("immutabletags", func(_ context.Context, repository distribution.Repository, _ map[string]any) (distribution.Repository, error) {
		return immutable{repository}, nil
	})
	if err != nil {
		panic(err)
	}
}

// One registry is one process, so one lock keeps two pushes of a tag apart.
var moving sync.Mutex

type immutable struct{ distribution.Repository }

func (r immutable) Manifests(ctx context.Context, options ...distribution.ManifestServiceOption) (distribution.ManifestService, error) {
	manifests, err := r.Repository.Manifests(ctx, options...)
	return immutableManifests{manifests, r}, err
}

func (r immutable) Tags(ctx context.Context) distribution.TagService {
	return immutableTags{r.Repository.Tags(ctx), r}
}

// refusal says why a tag must not be put on a manifest, or returns nil.
func (r immutable) refusal(ctx context.Context, tag string, wanted digest.Digest) error {
	if tag == "latest" {
		return errcode.ErrorCodeDenied.WithMessage("the tag latest is refused: nobody could tell later what was running; name a version or a commit")
	}
	there, err := r.Repository.Tags(ctx).Get(ctx, tag)
	if unknown := (distribution.ErrTagUnknown{}); errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return err
	}
	if there.Digest != wanted {
		return errcode.ErrorCodeDenied.WithMessage(fmt.Sprintf("tags are immutable: %s is %s and stays it; push %s under another tag", tag, there.Digest, wanted))
	}
	return nil
}

type immutableManifests struct {
	distribution.ManifestService
	repository immutable
}

// Put is where a refusal still reaches the client in words.
func (m immutableManifests) Put(ctx context.Context, manifest distribution.Manifest, options ...distribution.ManifestServiceOption) (digest.Digest, error) {
	_, payload, err := manifest.Payload()
	if err != nil {
		return "", err
	}
	for _, option := range options {
		if tagged, ok := option.(distribution.WithTagOption); ok {
			if err := m.repository.refusal(ctx, tagged.Tag, digest.FromBytes(payload)); err != nil {
				return "", err
			}
		}
	}
	return m.ManifestService.Put(ctx, manifest, options...)
}

type immutableTags struct {
	distribution.TagService
	repository immutable
}

// Tag comes after Put, and another push may have come between.
func (t immutableTags) Tag(ctx context.Context, tag string, target v1.Descriptor) error {
	moving.Lock()
	defer moving.Unlock()
	if err := t.repository.refusal(ctx, tag, target.Digest); err != nil {
		return err
	}
	return t.TagService.Tag(ctx, tag, target)
}

// Untag would be the way around: what is gone can be put anew.
func (t immutableTags) Untag(context.Context, string) error {
	return errcode.ErrorCodeDenied.WithMessage("tags are immutable: they are not deleted either")
}
