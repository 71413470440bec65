"""The hand-written parts that the grammar joins, by the opinion that they express. Each fits every topic.

Commas separate entries. Verb phrases are in the past tense and fit after "the hotel" and after "it". The phrases of
``*_REACTIONS`` fit after "I" and after "we".
"""

from __future__ import annotations


def entries(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated text, without line breaks and surplus spaces."""
    return tuple(" ".join(entry.split()) for entry in text.split(",") if entry.strip())


GOOD_ADJECTIVES = entries("""
    good, great, excellent, wonderful, fantastic, amazing, brilliant, superb, lovely, beautiful, perfect, awesome,
    outstanding, terrific, fabulous, marvellous, delightful, impressive, splendid, magnificent, charming, pleasant,
    nice, fine, remarkable, exceptional, first-class, top-notch, incredible, stunning, gorgeous, enjoyable, fun,
    satisfying, memorable, special, unique, fresh, lively, cheerful, elegant, stylish, neat, clever, smart,
    thoughtful, reliable, solid, flawless, spectacular, breathtaking, astonishing, glorious, heavenly, divine,
    phenomenal, unforgettable, refreshing, inspiring, uplifting, exciting, thrilling, fascinating, worthwhile,
    valuable, super, adorable, sweet, cute, cool, classy, tasteful, graceful, generous, warm, welcoming, honest,
    decent, likeable, admirable, extraordinary, sensational, priceless, rewarding, pleasing, ideal, convenient,
    handy, useful, helpful, superior, modern, tidy, joyful, happy, calm, peaceful, safe, faultless, wholesome,
    soothing, magical, enchanting
""")

BAD_ADJECTIVES = entries("""
    bad, terrible, awful, horrible, dreadful, poor, disappointing, boring, dull, mediocre, useless, worthless,
    pathetic, lousy, rubbish, disgusting, unpleasant, annoying, irritating, frustrating, ridiculous, stupid, silly,
    pointless, tedious, tiresome, miserable, depressing, sad, gloomy, dismal, ugly, nasty, dirty, filthy, shabby,
    cheap-looking, overpriced, expensive, unreliable, faulty, broken, defective, clumsy, confusing, sloppy,
    careless, lazy, weak, bland, lifeless, stale, forgettable, unbearable, unacceptable, shameful, embarrassing,
    appalling, atrocious, abysmal, hopeless, inferior, dated, noisy, loud, chaotic, messy, uncomfortable,
    inconvenient, painful, unfair, dishonest, misleading, shocking, offensive, insulting, cruel, cold, hostile,
    rude, unfriendly, unhelpful, slow, late, flawed, third-rate, amateurish, hideous, revolting, sickening,
    tasteless, joyless, grim, dreary, monotonous, unimpressive, underwhelming, substandard, inadequate, incompetent,
    horrid, ghastly, tragic, creepy, scary, dangerous, fragile, flimsy, tacky, wretched, laughable, unwatchable,
    unusable, exhausting, stressful, idiotic
""")

SUPERLATIVES_GOOD = entries("""
    best, nicest, loveliest, finest, funniest, kindest, prettiest, greatest, sweetest, most beautiful, most
    enjoyable, most comfortable, most helpful, most exciting, most impressive, cleverest, happiest, coolest,
    smoothest, friendliest, most delightful, most entertaining, freshest, smartest, warmest
""")
SUPERLATIVES_BAD = entries("""
    worst, ugliest, rudest, dullest, dirtiest, silliest, weakest, poorest, saddest, most boring, most disappointing,
    most uncomfortable, most tedious, most irritating, most useless, nastiest, lamest, slowest, laziest, noisiest,
    stupidest, most unpleasant, most ridiculous, most depressing, most annoying
""")

GOOD_NOUNS = entries("""
    joy, pleasure, delight, treat, gem, treasure, success, triumph, masterpiece, winner, bargain, blessing, dream,
    hit, miracle, wonder, highlight, revelation, classic, lifesaver, hidden gem, breath of fresh air, real find,
    work of art, feast, marvel, keeper, must, pleasant surprise, godsend, stroke of genius, steal
""")
BAD_NOUNS = entries("""
    disaster, nightmare, disgrace, failure, mess, joke, rip-off, scam, flop, catastrophe, insult, pain, mistake,
    bore, shame, fiasco, headache, swindle, fraud, embarrassment, waste of money, waste of time, complete failure,
    total mess, bad joke, letdown, disappointment, torture, trap, chore, con, tragedy, horror, lemon, dud
""")
GOOD_THINGS = entries("""
    charm, warmth, joy, humour, energy, flavour, character, care, style, kindness, life, passion, surprises,
    comfort, imagination, heart, wit, quality, talent, laughter, love, smiles, elegance, beauty, treasures, praise,
    magic, fun, good ideas, nice touches, class, soul, grace, delights, tenderness, creativity
""")
BAD_THINGS = entries("""
    problems, mistakes, errors, bugs, faults, complaints, delays, dirt, noise, dust, stains, mould, lies, excuses,
    defects, flaws, scratches, clichés, bad smells, cockroaches, fuss, stress, trouble, regrets, nonsense, holes,
    cracks, rust, rubbish, hassle, grease, boredom, chaos, insults, disappointments, damage, weaknesses, pain,
    frustration
""")

GOOD_REACTIONS = entries("""
    loved it, enjoyed every second of it, had a wonderful time, felt very welcome, was delighted, was thrilled,
    smiled all the way home, can only praise it, can't wait to come back, can't wait to see it again, would do it
    again in a heartbeat, would buy it again without hesitation, would happily pay double, will come again for sure,
    will certainly order again, was blown away, was over the moon, fell in love with it, felt well looked after,
    felt safe and happy, was moved to tears, laughed from beginning to end, laughed out loud, had a blast, got more
    than expected, was very pleased, was more than satisfied, was really happy with it, am a big fan, am so glad to
    have found it, am grateful for it, am hooked, have recommended it to all my friends, recommend it to everyone,
    recommend it warmly, recommend it without reservation, use it every day and love it, adore it, treasure it,
    slept like a baby, slept wonderfully, ate very well, left with a big smile, left happy, wanted more, wanted to
    stay forever, could listen to it all day, could watch it a hundred times, could not stop smiling, could not put
    it down, could not be more satisfied, could not ask for more, would give it six stars, give it full marks, give
    it ten out of ten, take my hat off to them, was impressed from the first moment, was in heaven, was amazed, was
    charmed, was pleasantly amazed, felt relaxed, felt spoiled, felt like a king, sang along, danced all night,
    cheered and clapped, appreciated every bit of it, admire it, trust it completely, was lucky to find it, thank
    the whole team, was glued to the screen, had goose pimples, was captivated, was spellbound, miss it already,
    keep coming back, always come back here, look forward to the next one, can't praise it enough, can't live
    without it any more, can't fault it, had no trouble at all, had zero issues, had no reason to complain, got
    exactly what was promised, got great value, saved a lot of money, saved a lot of time, learned a lot, was
    treated like family
""")
BAD_REACTIONS = entries("""
    hated it, hated every second of it, had a miserable time, felt unwelcome, was furious, was bored stiff, was
    bored to tears, complained but nobody listened, will never come back, will never order again, will never buy
    from them again, would not wish it on anyone, would give it zero stars, would rather stay at home, want a
    refund, demand a refund, asked for a refund, sent it back, returned it the next day, threw it away, threw it in
    the bin, gave up, gave up after ten minutes, walked out, left halfway through, left hungry, left in disgust,
    left feeling robbed, felt ripped off, felt ignored, felt ashamed, felt sick, was sick for days, had food
    poisoning, got a headache, got lost, got nothing for it, was let down, was badly let down, was disgusted, was
    shocked, was not impressed, was very unhappy with it, was really disappointed, was annoyed the whole time, was
    stuck for hours, regret it, regret every cent, regret the purchase, wasted my evening, wasted good money, paid
    far too much, paid a fortune for nothing, lost my temper, lost patience, lost interest after a few minutes,
    nearly fell asleep, almost cried with boredom, yawned all the way through, could hardly breathe, could hardly
    stay awake, could not wait to leave, could not wait for it to end, could not eat it, could not stand it, could
    not believe how bad it was, could not sleep a wink, could not hear a thing, can't recommend it, can't stand it,
    can't get it to work, don't recommend it, don't bother with it any more, stay away from it now, avoid it now,
    warn everybody about it, am fed up, am sick of it, am still angry, am still waiting for an answer, am still
    waiting for my money, am so sorry to have bought it, expected better, expected far more, hoped for much more,
    deserve better than that, had to wait forever, had to call again and again, had to pay extra, had to fix it
    myself, had to throw it out, had nothing but trouble with it, had enough, suffered, froze, was left standing in
    the rain, was treated like dirt, was lied to, was charged for nothing, was overcharged, itched all night,
    sneezed all night, cringed, sighed, rolled my eyes, struggled with it
""")

OPENERS = entries("""
    honestly, to be honest, well, in short, all in all, overall, in the end, simply put, seriously, really, frankly,
    for me, for us, in my opinion, if you ask me, as far as I can tell, once again, as always, this time, so, wow,
    okay, let me tell you, what can I say, to sum up, truly, personally, for what it is, at the end of the day, I
    must say, I have to say, I think, I thought, I found that, we found that, my wife says, my sister says, everyone
    agreed that, it turned out that, from start to end, I mean
""")

NEUTRAL_CLAUSES = entries("""
    we went there on Friday evening, I bought it in March, my parents came along, it was my first time, we were four
    people, I read about it in a magazine, a colleague told me about it, we booked it online, I ordered the small
    one, we stayed for three nights, I have had it for a month, it was raining that day, we arrived around noon, my
    son is seven years old, I work in an office nearby, I saw it yesterday, it lasted two hours, we sat in the
    second row, I live around the corner, the town has two of them, we travelled from the north, I got it as a
    present, I use it in the kitchen, my brother was driving, there were six of us at the table, we had tickets for
    Saturday, I picked the blue one, it is made of wood, the box is about this big, we came by car, I saw the first
    part years ago, it is set in a village, the story follows a teacher and his dog, it is about two sisters, we
    passed through on our way south, my neighbour has the same one, the shop is next to the bank, I asked at the
    desk, we took the stairs, they opened last year, it was a Monday, my boyfriend chose it, I put it on the table,
    we got off at the harbour, the man next to me had a hat, I took it to work, I read it on the train, my aunt gave
    it to us, it plays in winter, a boy meets a soldier by the sea, the hero is a young nurse, we stood near the
    door, you can see the church from the window, I looked at the clock, they sell tea and bread too, the car was
    parked behind the house, I know the original, my phone was in my pocket, she opened the letter, he said hello,
    the letter came by post
""")

NEUTRAL_PEOPLE = entries("""
    I, we, my wife, my husband, my mother, my father, our son, our daughter, the children, a friend, my friends, he,
    she, they, my colleague, somebody, a man, a woman, the neighbours, my boss, my cousin, grandma, the lady, the
    people, you, a student, my girlfriend, the boys, the girls, our group, the guests, everybody, my flatmate, the
    family
""")
NEUTRAL_VERBS = entries("""
    went to, came from, asked about, ordered, bought, saw, tried, took, looked at, used, opened, found, walked past,
    waited for, talked about, called about, sat near, paid for, brought, carried, put on, turned on, left, picked
    up, listened to, read about, heard about, wrote about, needed, wanted, chose, got, had, gave me, showed me, told
    me about, made, started, finished, kept, moved, changed, tested, watched, visited, booked, rented, sent, wore,
    played, set up
""")
TIMES = entries("""
    last night, last year, last summer, yesterday, today, this morning, on Friday, on Sunday, on Saturday night, in
    May, in winter, at night, in the evening, at lunchtime, for my birthday, for our anniversary, at Christmas,
    after work, before the show, for a week, for two days, for years, since last year, the first time, the second
    time, every day, every week, on the way home, on the way to work, in the afternoon, at the end, at first, at the
    weekend, this year, for an hour, after ten minutes, five years ago, with the kids, with my parents, with a
    friend, at home, in the city, by the sea, near the station, from my seat, from the start, in the middle, right
    now, right away, on my own, online, in my opinion, in our room, in the hall, at the table, on the phone, here,
    there, the next day, until midnight
""")

GOOD_RESULTS = entries("""
    I cried with joy, I forgot the time, I want another one, I ordered seconds, we stayed longer, we came back
    twice, my whole family wants one, I bought two, nobody wanted to leave, I had to smile, I felt at home, we
    booked again, I told all my friends, even my father was impressed, I can only say thank you, everybody clapped,
    I felt like dancing, we stayed up all night enjoying it, I would marry the cook, I hugged my sister, I did not
    want it to end
""")
BAD_RESULTS = entries("""
    I cried with anger, I counted the minutes, I sent it back, I had to leave, we left early, we never came back, my
    whole family complained, I lost my appetite, everybody wanted to leave, I had to shout, I felt sick, we
    cancelled, I warned all my friends, even my patient father was angry, I can only shake my head, everybody
    groaned, I gave up, we could not sleep, I wanted to scream, I asked for my money back, I wished it would end, my
    head hurt
""")

INTENSIFIERS = entries("""
    very, really, so, absolutely, totally, incredibly, extremely, truly, quite, pretty, simply, just, utterly,
    rather, completely, surprisingly, unbelievably, thoroughly, exceptionally, particularly, especially, remarkably,
    always
""")
