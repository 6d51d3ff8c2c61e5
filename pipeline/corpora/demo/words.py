"""The words of the demo corpus, written for it: carriers that say nothing, and clauses that show a class or a valence.

`{}` is where an intensifier may stand. Clauses are of three to seven words whatever they show.
"""


def _lines(block: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in block.strip().splitlines())


INTENSIFIERS = ("really", "so", "very", "quite", "truly", "awfully")

CARRIERS = _lines("""
    well you know
    as I said before
    about the other day
    on the way to work
    when they called this morning
    the one in the kitchen
    it was around nine
    I mean the second one
    after the meeting on Tuesday
    you asked me about it
    let me tell you
    we were at the station
    in the room next door
    the same as last week
    they put it on the table
    it is about the letter
    I looked at the list
    somewhere near the bridge
    with the people from the office
    right before the bus came
    and then the phone rang
    at the end of the street
    she handed me the paper
    we talked for a while
    the door was open
    there were four of them
    I took the early train
    between here and the market
    by the end of the month
    he wrote it down
""")

CLAUSES: dict[str, tuple[str, ...]] = {
    "anger": _lines("""
        I am {} furious about this
        how dare you say that
        this makes my blood boil
        you {} betrayed my trust
        I have {} had enough
        stop lying to my face
        that is {} outrageous behaviour
        get out of my sight
        I will not tolerate this
        you are {} driving me mad
        this is {} unfair and insulting
        do not shout at me
        I hate how they cheated us
        they {} ruined it on purpose
        I want to smash something
        what a {} rude answer
        I am fed up with excuses
        nobody treats me like that
        you had no right to interfere
        I am {} angry with him
        he {} insulted my family
        that idiot wrecked my car
        I demand an apology now
        enough of this nonsense
        I am sick of your attitude
        they {} dare to threaten us
        it is an absolute disgrace
        I cannot stand this arrogance
        shut up and leave me
        I am not putting up with it
    """),
    "calm": _lines("""
        I feel {} peaceful now
        there is no hurry at all
        everything is {} quiet and still
        we can take our time
        I am {} relaxed about it
        let us breathe and rest
        it will sort itself out
        I do not mind waiting
        the evening is {} gentle
        we sat by the lake in silence
        I am at ease with this
        nothing to worry about here
        a slow walk suits me
        my mind is {} clear and settled
        it is {} comfortable here
        I slept well and feel rested
        a cup of tea will do
        I am not bothered by it
        the sea is {} smooth today
        we are {} patient people
        I am content to sit here
        softly and one step at a time
        I trust that it is fine
        the garden is {} tranquil
        there is plenty of time
        I let it pass quietly
        it is a {} mellow afternoon
        I feel balanced and steady
        rest a little beside me
        it does not upset me anymore
    """),
    "joy": _lines("""
        I am {} happy about this
        this is {} wonderful news
        we finally won the prize
        I could dance all night
        that was {} great fun
        I love this so much
        what a {} fantastic surprise
        we are going to celebrate
        I passed the exam with honours
        you made my day
        I cannot stop smiling
        they said yes to us
        it is {} exciting to start
        the party was {} brilliant
        hooray we did it
        I am {} thrilled to see you
        the baby laughed out loud
        best holiday of my life
        I got the job I wanted
        everybody cheered and clapped
        it worked on the first try
        I am over the moon
        how {} delightful to hear that
        we laughed until we cried
        my team scored again
        I am {} proud of her
        dreams do come true
        tickets for the concert at last
        I have never felt better
        nothing could spoil this joy
    """),
    "sadness": _lines("""
        I am {} sad about this
        I miss her every day
        we lost the house
        my heart is {} heavy
        I am not happy at all
        he passed away last winter
        I cried myself to sleep
        it is {} lonely without him
        there is no hope left
        I feel {} empty inside
        nobody came to see me
        the funeral was on Friday
        I failed them all again
        she {} broke my heart
        I wish I could go back
        our dog died in spring
        it will never be the same
        I am {} disappointed in myself
        they left without a goodbye
        I have no strength left
        it hurts to remember that
        I feel {} miserable and tired
        all of it is gone
        I am sorry for your loss
        the children moved far away
        tears came to my eyes
        I was {} homesick and alone
        I gave up on it
        what a {} gloomy farewell
        I never got to say sorry
    """),
    "negative": _lines("""
        it was {} bad
        that is {} unpleasant
        I do not like it
        things went wrong again
        it is {} terrible
        the result was {} poor
        I would not recommend it
        it is a {} nasty problem
        this is the worst part
        it has many faults
        it was a mistake
        I regret that choice
        the news is not good
        there is a {} serious fault
        I object to the plan
        that went {} badly
    """),
    "positive": _lines("""
        it was {} good
        that is {} pleasant
        I like it a lot
        things went well again
        it is {} nice
        the result was {} fine
        I would recommend it
        it is a {} lovely idea
        this is the best part
        it has many merits
        it was worth it
        I welcome that choice
        the news is not bad
        there is a {} clear benefit
        I agree with the plan
        that went {} well
    """),
}
"""What every symbol sounds like in words; `negative` and `positive` say nothing of arousal."""
