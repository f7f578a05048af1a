// What the contract promises and `decide` does not keep yet. Each test states the guarantee and is expected to fail: with the cure it
// turns red, and becomes an ordinary test.

import { describe, expect, test } from 'vitest';
import { kick, login, Story, will } from './story.ts';

describe('after a kick made a session forget its epoch, and it lives at a lower one', () => {
  const backAtThree = () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(5), kick(), login(3));
    return story;
  };

  test.fails('I3: a repeated birth of the kicked connection does not replace the living one', () => {
    const story = backAtThree();
    expect(story.tell(login(5))).toBe('repeat');
    expect(story.state()).toBe('online@3');
  });

  test.fails('I2: the will of the living connection is not lost by a repeated birth of the kicked one', () => {
    const story = backAtThree();
    story.tell(login(5));
    expect(story.tell(will(3))).toContain('user.offline');
  });

  test.fails('I3: a repeated birth of the kicked connection does not reopen the session after its end', () => {
    const story = backAtThree();
    story.tell(will(3));
    expect(story.tell(login(5))).toBe('repeat');
    expect(story.state()).toBe('ended@3');
  });

  test.fails('I3: a repeated birth of the connection that a second kick ended does not reopen the session', () => {
    const story = backAtThree();
    story.tell(kick());
    expect(story.tell(login(3))).toBe('repeat');
    expect(story.state()).toBe('ended@null');
  });

  test.fails('I2: a late will of the connection that a second kick ended does not take the living one down', () => {
    const story = backAtThree();
    story.tell(kick(), login(2));
    expect(story.tell(will(3))).toBe('repeat');
    expect(story.state()).toBe('online@2');
  });

  test.fails('I2: a late will of a connection before the kicked one does not take the living one down', () => {
    const story = new Story({ graceMs: 0 });
    story.tell(login(4), login(5), kick(), login(3));
    story.tell(will(4));
    expect(story.state()).toBe('online@3');
  });
});
