"""The hand-written parts that the grammar joins, by topic and by the opinion that they express.

Commas separate entries. Verb phrases are in the past tense and fit after "the hotel" and after "it". The phrases of
``*_REACTIONS`` fit after "I" and after "we".
"""

from __future__ import annotations

from dataclasses import dataclass


def entries(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated text, without line breaks and surplus spaces."""
    return tuple(" ".join(entry.split()) for entry in text.split(",") if entry.strip())


@dataclass(frozen=True)
class Topic:
    """A kind of thing, and the words that praise or blame only this kind."""

    nouns: tuple[str, ...]
    good_adjectives: tuple[str, ...]
    bad_adjectives: tuple[str, ...]
    good_verbs: tuple[str, ...]
    bad_verbs: tuple[str, ...]


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

FILM = Topic(
    entries("""
        film, movie, plot, story, acting, script, ending, cast, dialogue, sequel, remake, documentary, comedy,
        thriller, director, camera work, lead actress, main actor, villain, soundtrack, series, episode, season,
        trailer, cinema, opening scene, show, play, cartoon, drama, hero, character, twist, finale, performance,
        musical, horror film
    """),
    entries("""
        gripping, hilarious, moving, touching, funny, witty, entertaining, suspenseful, heartwarming, original,
        well-acted, believable, powerful, intelligent, tense, riveting, poignant, tender, imaginative, hypnotic,
        romantic, haunting, captivating, absorbing, compelling, masterly, fast-paced, well-written,
        thought-provoking, charismatic
    """),
    entries("""
        predictable, unfunny, wooden, badly acted, poorly written, far-fetched, unconvincing, cheesy, corny,
        shallow, pretentious, long-winded, overlong, slow-moving, incoherent, flat, contrived, unoriginal,
        overrated, soulless, hollow, implausible, brainless, empty, stiff, clichéd, sentimental, nonsensical,
        muddled, lame
    """),
    entries("""
        kept me on the edge of my seat, made me laugh, made me cry happy tears, stole the show, moved everyone,
        deserved every award, gripped me from the first minute, touched my heart, flew by, surprised me again and
        again, sparkled with wit, made the audience cheer, held my attention, blew me away, worked beautifully, won
        me over, got a standing ovation, stayed with me for days, lit up the screen, exceeded my expectations, was
        full of heart, made perfect sense, brought tears to my eyes, had us in stitches, never got dull, had
        everyone laughing, was worth seeing twice, left me speechless in the best way, shone in every scene, was
        beautifully shot
    """),
    entries("""
        put me to sleep, dragged on forever, went nowhere, fell flat, bored me, bored the whole family, insulted our
        intelligence, was full of holes, lacked any tension, lost me after ten minutes, ran out of ideas, had no
        point, was all noise, left me cold, tried too hard, was a chore to watch, wore thin quickly, ruined the
        book, was hard to follow, stumbled from scene to scene, annoyed me from the start, had no chemistry, made me
        cringe, was way too long, was not funny, failed to scare anyone, felt like an eternity, never got going,
        made little sense, left the audience yawning, was painful to sit through, mumbled through the whole thing,
        recycled old ideas
    """),
)
BOOK_AND_MUSIC = Topic(
    entries("""
        book, novel, author, chapter, album, song, concert, band, singer, voice, orchestra, festival, gig, melody,
        guitar, drummer, audiobook, poem, magazine, podcast, lyrics, choir, stage, sound, music, crowd, support act,
        record, exhibition, museum, ballet, circus, comedian, video game, game, puzzle, writing, biography, piano,
        club
    """),
    entries("""
        catchy, beautifully written, melodic, soulful, electrifying, energetic, hypnotic, tuneful, soaring,
        unputdownable, informative, atmospheric, rich, vivid, playful, addictive, well-researched, insightful,
        rousing, virtuoso, stirring, dreamy, crisp, full of life, enthralling, engaging, challenging in a good way,
        profound
    """),
    entries("""
        out of tune, off-key, repetitive, badly written, badly mixed, ear-splitting, deafening, tuneless, muddy,
        soporific, unreadable, dry, long, half-hearted, lacklustre, uninspired, pompous, padded, buggy, generic,
        full of mistakes, derivative, shrill, whiny, heavy-handed, far too short, sold out and overcrowded, preachy
    """),
    entries("""
        got everybody dancing, gave me shivers, sounded amazing, sounded better than ever, had us singing along,
        brought the house down, kept me reading all night, was a pleasure to read, hit every note, played two
        encores, made my day, lifted my mood, cheered me up, grew on me with every listen, rocked the hall, inspired
        me, taught me a lot, drew me in at once, gave it everything, had a great rhythm, made me want to dance, took
        my breath away, was pure magic, delivered the goods, kept the children busy for hours, sounded crystal
        clear, was sung beautifully
    """),
    entries("""
        sounded terrible, sounded like noise, hurt my ears, was over after forty minutes, started two hours late,
        was sung badly, forgot the words, was barely audible, made me want to leave, got on my nerves, was
        impossible to read, never came to the point, sent me to sleep, lacked energy, lacked soul, was cancelled at
        the last minute, was booed off the stage, crashed all the time, played the same three chords, was drowned
        out by the bass, repeated itself endlessly, read like a school essay, was not worth the ticket, kept
        freezing, went through the motions, was full of spelling mistakes, was spoiled by drunk people, missed every
        note, gave me a migraine
    """),
)
FOOD = Topic(
    entries("""
        food, meal, pizza, soup, pasta, dinner, lunch, breakfast, dessert, cake, coffee, tea, wine, beer, burger,
        salad, fish, chicken, steak, bread, sauce, curry, rice, sushi, sandwich, restaurant, café, bar, waiter,
        waitress, chef, menu, service, ice cream, buffet, bakery, pie, fries, cheese, noodles, omelette, vegetables,
        fruit, beef, cocktail, starter, main course, chocolate, portion, croissant, table, kitchen, pub, pancake,
        potatoes, dish
    """),
    entries("""
        delicious, tasty, yummy, mouth-watering, juicy, crispy, tender, freshly made, home-made, flavourful,
        perfectly seasoned, scrumptious, hot and fresh, creamy, rich, spicy in the best way, crunchy, generous,
        finger-licking, appetising, cooked to perfection, aromatic, fluffy, velvety, authentic, healthy, light,
        hearty, exquisite
    """),
    entries("""
        bland, burnt, raw, soggy, greasy, cold, lukewarm, salty, sour, undercooked, overcooked, inedible, rotten,
        mouldy, rubbery, chewy, watery, oily, tough, flavourless, stale, bitter, dry, mushy, tiny, frozen in the
        middle, too salty, half-cooked, slimy, rancid, off, gristly, stingy, microwaved, sticky, stinking, lumpy,
        fatty, gone off
    """),
    entries("""
        tasted wonderful, tasted like home, tasted fresh, melted in the mouth, smelled heavenly, looked as good as
        it tasted, was worth the wait, was full of flavour, hit the spot, arrived hot, came quickly, filled us up,
        went down a treat, was a feast for the eyes, made us order a second one, was just like my grandmother's, was
        cooked just right, was better than in Italy, made my mouth water, left nothing to be desired, was served
        with a smile, was seasoned just right, was worth the trip alone, beat every other one in town, tasted
        heavenly
    """),
    entries("""
        tasted of nothing, tasted like cardboard, tasted like soap, tasted awful, tasted burnt, smelled bad, smelled
        rotten, smelled funny, made me ill, made us sick, gave me a stomach ache, gave everyone food poisoning,
        arrived cold, took ages to arrive, took forever, never came, was swimming in oil, was raw inside, was as dry
        as dust, had a fly in it, had a bone in it, turned my stomach, went straight into the bin, looked like dog
        food, cost a fortune, came out of a tin, was served without a smile, was dripping with fat, left us hungry,
        stank, left a nasty taste, was spat out
    """),
)
HOTEL = Topic(
    entries("""
        hotel, room, bed, bathroom, shower, view, pool, reception, lobby, balcony, flat, apartment, hostel,
        campsite, garden, beach, location, house, villa, mattress, pillow, cottage, spa, sauna, area, neighbourhood,
        terrace, holiday, weekend, stay, host, landlord, maid, manager, towels, guest house, resort, street,
        staircase, kitchen, air conditioning, heating, wifi, furniture, carpet, lift, window, inn, park, playground,
        gym, place, atmosphere
    """),
    entries("""
        clean, spotless, spacious, comfortable, comfy, cosy, quiet, bright, airy, sunny, luxurious, well-kept,
        well-equipped, central, homely, romantic, idyllic, inviting, roomy, hospitable, sparkling clean, soft,
        restful, picturesque, relaxing, tasteful, immaculate, tranquil, family-friendly, soundproof, snug, friendly,
        scenic
    """),
    entries("""
        dirty, filthy, cramped, noisy, smelly, mouldy, damp, dusty, run-down, grubby, dark, tiny, musty, stuffy,
        freezing, uncomfortable, grimy, dingy, unsafe, loud, stained, lumpy, rock-hard, draughty, neglected,
        infested, broken, stinking, claustrophobic, worn out, unhygienic, sordid, sticky, bleak, boiling hot,
        squalid, blocked, rundown
    """),
    entries("""
        felt like home, felt like paradise, made us feel at ease, was a dream, had everything we needed, looked
        better than in the photos, was cleaned every day, smelled fresh, was close to everything, was surrounded by
        flowers, was perfect for families, had a view to remember, greeted us with a drink, welcomed us with open
        arms, made our honeymoon unforgettable, was made for relaxing, was an oasis, sparkled, offered every
        comfort, was super comfortable, was worth every cent, let us check in early, was full of light, spoiled us,
        was heaven on earth
    """),
    entries("""
        smelled of damp dog, smelled of drains, smelled of sewage, stank of cigarettes, was full of cockroaches, was
        full of mould, was never cleaned, looked nothing like the photos, had no hot water, had stains everywhere,
        had bugs in it, leaked all night, was falling apart, was next to a building site, squeaked all night, kept
        us awake, faced a brick wall, was as hard as a board, was covered in hair, was out of order, gave me back
        pain, did not even lock, was crawling with ants, rattled all night, flooded the floor, felt like a prison,
        was a health hazard, was double booked, ruined our holiday, spoiled our weekend, was freezing cold, was like
        an oven, was full of dust
    """),
)
GADGET = Topic(
    entries("""
        phone, laptop, battery, screen, camera, keyboard, headphones, speaker, charger, tablet, printer, app,
        website, software, update, watch, vacuum cleaner, blender, toaster, kettle, fridge, lamp, bike, car, drill,
        toy, product, device, television, remote, mouse, router, washing machine, coffee machine, oven, iron, fan,
        heater, pan, knife, chair, sofa, desk, bag, tent, umbrella, backpack, item, gadget, machine, quality,
        design, manual, cable, razor, hair dryer, pen, tool, lock, doll, price, thing, purchase, model, version,
        instructions, picture, lens
    """),
    entries("""
        fast, quick, easy to use, durable, sturdy, lightweight, sleek, sharp, powerful, well-made, robust, silent,
        intuitive, affordable, long-lasting, efficient, responsive, user-friendly, good value, accurate, practical,
        speedy, compact, simple, trouble-free, indestructible, well-designed, waterproof, versatile, clear,
        ergonomic, high-quality
    """),
    entries("""
        slow, fragile, flimsy, cheap, buggy, laggy, faulty, defective, hard to use, complicated, clunky, unstable,
        badly made, poorly made, scratched, blurry, noisy, heavy, bulky, overheated, unresponsive, wobbly, rusty,
        glitchy, damaged, badly designed, awkward, dead, blunt, jammed, crooked, dim, useless, plasticky, leaky,
        second-rate, cracked, incomplete, short-lived, obsolete, inaccurate, dead on arrival, bent, torn,
        counterfeit, fake
    """),
    entries("""
        works like a dream, worked perfectly, worked straight away, works every time, runs smoothly, lasts all day,
        lasts forever, lasted for years, makes life easier, does the job, does its job brilliantly, does what it
        promises, charges quickly, looks great, looks and feels expensive, feels solid, feels great in the hand,
        fits perfectly, saves me so much time, is a pleasure to use, is worth the money, is a bargain at this price,
        never lets me down, never fails, survived a fall, still looks new, still works like new, was easy to
        install, took no time to set up, arrived early, arrived well packed, arrived in perfect shape, came with
        clear instructions, beats the competition, solved all my problems, is as good as new, is a joy to hold, is
        better than the old one, sounds superb
    """),
    entries("""
        stopped working, stopped working within days, broke, broke immediately, broke on the first day, broke after
        a month, broke down, died, died after a week, crashes constantly, crashes every day, freezes all the time,
        fell apart, fell to pieces, came apart, won't turn on, won't charge, won't start, doesn't work, does not
        work, never worked, didn't fit, doesn't hold a charge, drains in no time, overheats, leaks, smells of
        plastic, makes a horrible noise, makes a terrible whine, scratches easily, cracked within a week, snapped in
        half, tore at once, arrived broken, arrived damaged, arrived late, arrived with parts missing, never
        arrived, was missing a piece, burned my hand, caught fire, went dark, keeps disconnecting, keeps switching
        off, keeps breaking, loses signal, got stuck, rusted within a month, refused to start, wore out quickly,
        faded after one wash, shrank in the wash, is a fire hazard, is already broken, is nothing but trouble,
        lasted only a day, hardly works, barely works, failed completely, feels cheap, looks cheap, eats batteries,
        deleted all my photos, is full of bugs, is full of adverts, lags badly
    """),
)
SERVICE = Topic(
    entries("""
        staff, team, service, receptionist, customer service, support, waiter, driver, doctor, nurse, dentist,
        teacher, shop assistant, hairdresser, haircut, plumber, mechanic, electrician, seller, company, bank, post
        office, hotline, delivery, courier, agent, lady at the desk, man at the counter, owner, guide, cashier,
        shop, store, insurance, garage, repair, lesson, course, instructor, boss, manager, salesman, technician,
        builder, office, answer, refund process, clinic, hospital, order, shipping, parcel, trainer, landlady,
        security guard, barber, tailor, vet
    """),
    entries("""
        friendly, helpful, kind, polite, patient, attentive, professional, courteous, efficient, prompt, caring,
        considerate, competent, knowledgeable, obliging, punctual, understanding, fair, skilled, hard-working,
        sympathetic, well-organised, gentle, quick, trustworthy, respectful, thorough, accommodating, warm-hearted,
        smiling, cheerful
    """),
    entries("""
        rude, unfriendly, impolite, arrogant, unhelpful, incompetent, lazy, slow, impatient, careless, grumpy,
        aggressive, disrespectful, dishonest, unprofessional, clueless, indifferent, disorganised, ignorant,
        inattentive, moody, condescending, hopeless, bad-tempered, greedy, unreliable, pushy, sulky, insolent,
        hostile, snobbish, cold, bossy, chaotic, uninterested, unpunctual, patronising, untrained, surly, heartless,
        bad-mannered
    """),
    entries("""
        helped us right away, helped me with everything, took great care of us, took the time to explain, answered
        all our questions, answered within minutes, solved the problem in minutes, went the extra mile, always
        smiled, made us feel important, was there for us, could not have been nicer, could not have been more
        helpful, gave excellent advice, gave us a free drink, replaced it for free, kept every promise, remembered
        our names, treated us like friends, did a fantastic job, did wonders, fixed it in no time, came on time,
        charged a fair price, refunded me at once, listened carefully, put me at ease, cared about us, saved our
        holiday, saved the day, knew everything, kept us informed, apologised and made up for it, thought of
        everything, exceeded all expectations, deserves a raise
    """),
    entries("""
        ignored us, ignored my emails, ignored me completely, shouted at us, yelled at my mother, laughed at me,
        lied to us, lied to my face, hung up on me, never called back, never answered, never replied, did not care,
        did not listen, didn't apologise, didn't even say hello, refused to help, refused to pay, refused to listen,
        kept us waiting, kept me waiting for weeks, made us wait an hour, made me feel stupid, made mistake after
        mistake, lost my order, lost my parcel, sent the wrong size, sent the wrong colour, brought the wrong dish,
        got everything wrong, overcharged us, ripped us off, cheated us, stole my money, kept my deposit, took no
        notice, rolled his eyes, treated us badly, treated us like criminals, did a terrible job, did shoddy work,
        did nothing, blamed us, insulted us, cancelled my order, forgot about us, forgot our drinks, damaged my car,
        left a mess, left us standing, was nowhere to be found, was never there, had no idea, had no manners,
        couldn't care less, talked down to me, passed me from one to another, turned up late, turned up drunk, did
        not turn up, didn't know anything, wasted our time, broke every promise
    """),
)
TRAVEL = Topic(
    entries("""
        train, flight, airline, bus, ferry, taxi, seat, journey, trip, tour, crew, airport, station, platform,
        ticket, timetable, queue, luggage, cruise, boat, city, town, village, rental car, tram, coach, ride, route,
        road, departure, connection, carriage, cabin, crossing, boarding, hike, castle, market, zoo, theme park,
        island, mountain, walk, excursion, motorway, passport control, night train, conductor, pilot, landing,
        lounge, port, camping trip
    """),
    entries("""
        punctual, on time, smooth, comfortable, scenic, relaxing, well-organised, unforgettable, hassle-free,
        picturesque, adventurous, efficient, cheap and cheerful, spacious, roomy, effortless, quick, pretty,
        dreamlike, safe, eventful in a good way, wonderful from start to end, stress-free, restful, easy, clean and
        quiet, breathtaking
    """),
    entries("""
        late, delayed, cancelled, overcrowded, crowded, packed, bumpy, cramped, uncomfortable, exhausting, badly
        organised, dangerous, dirty, chaotic, freezing, overbooked, endless, stuffy, touristy, unsafe, hot and
        sticky, rough, hair-raising, full of rubbish, bone-shaking, overpriced, never on time, stressful, grimy,
        rickety, smelly
    """),
    entries("""
        left on time, arrived on time, arrived ahead of schedule, ran like clockwork, went without a hitch, went
        smoothly, was over far too soon, had plenty of legroom, offered splendid views, was a highlight of our year,
        was a great adventure, was worth the climb, took us to wonderful places, was organised down to the last
        detail, had comfortable seats, was an experience to remember, brought us home safely, made travelling a
        pleasure, was full of lovely surprises, was a breeze, was quick and painless, showed us beautiful corners,
        enchanted us all
    """),
    entries("""
        was two hours late, was late again, was delayed for hours, was cancelled, was cancelled without notice, was
        packed like a tin of sardines, left without us, left us stranded, broke down, lost our suitcases, lost my
        bag, never showed up, never came, was full of screaming people, took twice as long as promised, was
        overbooked, cost twice as much as announced, had no air, had no legroom, had broken toilets, made me
        seasick, made us miss our connection, was a tourist trap, was closed without warning, got lost, drove like a
        maniac, took a detour to earn more, was full of litter, was not worth the fare, went wrong from the start,
        ended in chaos, was one long queue, scared us to death, was stuck for three hours, stopped in the middle of
        nowhere, gave away our seats, damaged my suitcase
    """),
)
CLOTHES = Topic(
    entries("""
        jacket, coat, dress, shirt, shoes, boots, trousers, jeans, sweater, hat, gloves, socks, skirt, scarf,
        fabric, material, colour, zip, size, ring, necklace, perfume, shampoo, cream, soap, lipstick, blanket, suit,
        belt, pyjamas, sandals, sunglasses, wallet, buttons, seams, paint, curtains, rug, towel, cushion
    """),
    entries("""
        soft, warm, flattering, well-cut, stylish, elegant, comfortable, snug, chic, pretty, waterproof,
        fashionable, silky, breathable, colourful, well-made, hard-wearing, fragrant, gentle, light, smooth, true to
        size, timeless
    """),
    entries("""
        scratchy, itchy, baggy, ill-fitting, see-through, thin, badly sewn, cheap, uncomfortable, stiff, faded,
        shapeless, too tight, way too small, hideous, rough, torn, smelly, sticky, frumpy, crumpled, stained, poorly
        stitched
    """),
    entries("""
        fits like a glove, fits beautifully, feels soft on the skin, keeps me warm, keeps the rain out, looks even
        better in real life, gets me compliments every day, washes well, suits me perfectly, goes with everything,
        still looks like new, smells lovely, is just what was wanted, makes me feel pretty, is incredibly
        comfortable, lasts for years
    """),
    entries("""
        fell apart in the wash, lost its colour, shrank, ripped on the first day, itches terribly, gave me blisters,
        gave me a rash, burned my skin, smells of chemicals, looks nothing like the photo, split at the seams, lost
        a button at once, lets the rain in, hurts my feet, is far too small, came in the wrong size, has holes
        already, makes me look awful, pinches, stains everything, peeled off, rubbed my heels raw, came with a
        broken zip, unravelled
    """),
)

TOPICS = (FILM, BOOK_AND_MUSIC, FOOD, HOTEL, GADGET, SERVICE, TRAVEL, CLOTHES)
